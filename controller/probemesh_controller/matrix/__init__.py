"""The grid of a mesh's pairs: measured now, and what became of each cell."""
