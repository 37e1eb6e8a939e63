"""Diagnosis of one pair by both of its ends.

``case`` holds what was asked and everything that was seen. Readers make *signs* of one direction of it
(``view``, ``signs``); *causes* are rows of data that predict signs; the ``judge`` keeps those that no sign
contradicts. ``plan`` chooses the *move* that settles a sign on which what is left differs, ``conclude`` says
what it all means. These are pure, so that a saved case can be replayed. :mod:`drive` is the only part that
talks to agents.
"""
