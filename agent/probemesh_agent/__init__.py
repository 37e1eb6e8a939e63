"""The agent: measures from one host and reports to whoever may ask."""
