"""``python -m probemesh_agent`` is ``mesh-agent``."""

import sys

from probemesh_agent.start import main

sys.exit(main())
