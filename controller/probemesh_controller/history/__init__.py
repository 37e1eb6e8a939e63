"""Runs that ``meshctl`` made, kept on the laptop: it alone has the rows of ``self`` and the findings.

:mod:`codec` turns results into JSON-like values and back, :mod:`record` says what stands beside them,
:mod:`store` keeps both in a folder, a file a run. Decision 0007 says why.
"""
