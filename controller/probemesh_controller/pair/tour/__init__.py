"""What a pair that connects is asked beside the connection itself, and what stands between the two ends.

Each module has one question: its signs, its causes and the probes that settle them.
"""
