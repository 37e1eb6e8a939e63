"""One module per probe kind; :mod:`probemesh_agent.probes.registry` names them all. Importing this loads
none."""
