"""The behaviour of the NAT in front of an agent, with the other agents as reflectors.

:mod:`seen` is what was observed; :mod:`mapping`, :mod:`filtering` and :mod:`around` conclude from it one
matter each, :mod:`behaviour` all of them together: these are pure. :mod:`drive` is the only part that talks
to agents.
"""
