"""What every definition of ours says of itself. https://hl7.org/fhir/R4/metadataresource.html"""

from fhir_mappings.records import Json

SOFTWARE_VERSION = "0.1.0"
"""Of Sluss, and of every definition that Sluss, not a pack, decides."""

PUBLISHED = "2026-11-23"
"""When the definitions last changed."""

PUBLISHER = "Sluss"


def headed(type_: str, id_: str, base: str, version: str, *, title: str, description: str) -> Json:
    """The first elements of a definition: `url` is `{base}/{type}/{id}`, `name` the id in PascalCase."""
    return {
        "resourceType": type_,
        "id": id_,
        "url": f"{base}/{type_}/{id_}",
        "version": version,
        "name": "".join(word[:1].upper() + word[1:] for word in id_.split("-")),
        "title": title,
        "status": "active",
        "experimental": False,
        "date": PUBLISHED,
        "publisher": PUBLISHER,
        "description": description,
    }
