"""Diagnosis of one pair by both of its ends.

``case`` holds what was asked and everything that was seen; :mod:`plan` says what to do next,
:mod:`conclude` what it all means: both are pure, so that a saved case can be replayed. :mod:`drive` is
the only part that talks to agents.
"""
