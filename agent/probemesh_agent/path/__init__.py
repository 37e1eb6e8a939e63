"""What kinds ``trace`` and ``mtu`` are made of: what to send next, by which socket, and what a quotation
says."""
