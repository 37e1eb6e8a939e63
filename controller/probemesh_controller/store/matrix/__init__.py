"""The standing mesh in the store: series, their latest slots, packed raw data, roll-ups."""
