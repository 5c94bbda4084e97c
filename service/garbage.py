"""How often a process that stays looks for garbage."""

import gc


def look_seldom() -> None:
    """To be called when all is loaded. Pack, definitions and modules stay for good: the garbage collector need not go
    through them again and again, nor look for cycles, of which a request or a delivery makes hardly any, after every
    few hundred objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
