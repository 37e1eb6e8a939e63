"""Codecs of what goes over the wire: pure functions from bytes to facts and back."""
