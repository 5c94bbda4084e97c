"""A Store within a change that is open already: what is done through it is part of that change, or of none."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.store.change import Change
from service.store.database import Store
from service.store.view import View


class Joined(Store):
    """Gives the one open change to everybody who asks for a change or a view, and commits nothing: whoever opened it
    does, when all that belongs together is done. An exception must reach them, or what is half done would be kept.

    Locks are theirs to take beforehand, in one order everywhere; and before the first write, which takes the stamp.
    """

    def __init__(self, outer: Store, change: Change) -> None:
        self.__dict__.update(outer.__dict__)  # the same connections, for what needs no change
        self._change = change

    @contextmanager
    def change(self) -> Iterator[Change]:
        """The open change. What was gathered in the block is sent at its end, so that a StaleVersion is told there."""
        with self._change.done_by(self.acting):
            yield self._change
        self._change.flush()

    def view(self) -> View:
        """Reads that see what the change has written so far."""
        return self._change
