"""Renderers: pure functions from results to text. They sanitise what came from elsewhere."""
