"""How nouns and frames become bytes and back: bounds, the reflective compiler, length prefixes.

:mod:`probemesh_shared.convert` is the face of this package; nothing else should import from inside it.
"""
