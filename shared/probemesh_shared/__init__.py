"""What agent and controller share: words, wire, session, identity."""
