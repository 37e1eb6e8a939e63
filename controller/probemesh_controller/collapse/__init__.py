"""From cells to causes: the fewest causes that explain every failing cell of a mesh and no healthy one. Pure.

``explain(cells)`` is all that others want; :mod:`.wording` says a cause in a sentence and as JSON.
"""

from probemesh_controller.collapse.explaining import explain
from probemesh_controller.collapse.model import Cause, Cell, End, Explanation, ProbeLabel, State, Way

__all__ = ["Cause", "Cell", "End", "Explanation", "ProbeLabel", "State", "Way", "explain"]
