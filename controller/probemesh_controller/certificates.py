"""What reads certificates; it lives in shared, because ``mesh-agent probe`` shows them too."""

from probemesh_shared.certificates import parse_certificate

__all__ = ["parse_certificate"]
