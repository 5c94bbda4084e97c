"""What a search parameter is. https://hl7.org/fhir/R4/search.html#ptypes"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Search parameter types that Sluss knows."""

    TOKEN = "token"  # noqa: S105 - FHIR's word, not a secret
    REFERENCE = "reference"
    DATE = "date"
    STRING = "string"
    URI = "uri"
    QUANTITY = "quantity"


class Shape(StrEnum):
    """What a parameter's element looks like, where its kind leaves that open."""

    CODE = "code"
    """A bare code, boolean or text; the system is implied."""
    TRUTH = "truth"
    """Whether there is anything but `false` there: every resource has an answer."""
    CONCEPT = "concept"
    CODING = "coding"
    IDENTIFIER = "identifier"
    CANONICAL = "canonical"
    """A reference by URL, `|version` after it or not."""


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One parameter of one type. `paths` are element paths below the resource in SQL/JSON path syntax; arrays on the
    way are looked into. Of an indexed parameter they are plain names with dots.
    """

    type: str
    name: str
    kind: Kind
    paths: tuple[str, ...]
    shape: Shape | None = None
    targets: tuple[str, ...] = ()
    """Types that a reference may point at."""
    indexed: str | None = None
    """Name of its rows in `search_value`, for a quantity in `measured`; None when the resource itself is looked into.
    Two parameters over the same element (`subject`, `patient`) share one."""
    system: str = ""
    """The code system that a bare code is of; '' where there is none."""
    main: bool = False
    """True of the one date of a type that its resources are sorted by without being looked into
    (`resource.dated_from`, `dated_until`)."""

    @property
    def shares(self) -> bool:
        """True when it is about those of an element's references that point at its own targets: `patient`."""
        return self.indexed is not None and self.indexed != self.name

    def can_be_of(self, system: str | None) -> bool:
        """Whether a bare code can be meant by a token with this system (None: any, '': none)."""
        return not system or system == self.system


LAST_UPDATED = SearchParameter("", "_lastUpdated", Kind.DATE, ())
"""What every type has besides its own parameters; a column, not an element."""
