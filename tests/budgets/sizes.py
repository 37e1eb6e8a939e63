"""How long, how many, and what may go to the one target a second."""

AGENTS = 6
#: Seconds for which an agent alone is asked, and a mesh.
ALONE_S, MESH_S = 4.0, 12.0
#: What the owner of the one agent, and of the mesh, lets one target have: packets and connections a second.
OF_AGENT, OF_MESH = (60, 30), (15, 4)
