"""Why does the flow that was asked for get through, or not: signs, causes, moves."""
