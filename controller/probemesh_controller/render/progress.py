"""How far a scan is: a bar, the rate, and what is left at that rate. Pure."""

_CELLS = 24


def bar_text(done: int, total: int, elapsed_s: float) -> str:
    """``[██████░░░░] 512/1000 ports  230/s  2 s left``; rate and rest once there is something to tell."""
    share = min(1.0, done / total) if total > 0 else 1.0
    full = int(share * _CELLS)
    text = f"[{'█' * full}{'░' * (_CELLS - full)}] {done}/{total} ports"
    if done <= 0 or elapsed_s <= 0:
        return text
    rate = done / elapsed_s
    text += f"  {rate:.0f}/s" if rate >= 1 else f"  {rate:.1f}/s"
    return f"{text}  {span_text((total - done) / rate)} left" if done < total else text


def span_text(seconds: float) -> str:
    """``3 s``, ``2 min``, ``1 h 5 min``."""
    whole = max(1, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
