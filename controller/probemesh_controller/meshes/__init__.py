"""Meshes and schedules: the file that declares them, whom they mean, and what is due when. Pure but for
reading the file.

Who probes whom is a *mesh*, a mesh with kinds of probe and times is a *schedule*.
"""
