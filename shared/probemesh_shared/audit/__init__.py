"""Who asked for what, from where, and what came of it: one record an event, the same on controller and agent.

:mod:`.record` says what an event is and how it stands in a file, :mod:`.file` keeps the files, :mod:`.log` is
what the rest of the program hands records to, :mod:`.query` and :mod:`.search` find
them again.
"""
