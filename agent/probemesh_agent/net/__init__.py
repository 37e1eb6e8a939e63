"""The way out of the process: resolver, policy, own addresses, streams and datagrams."""
