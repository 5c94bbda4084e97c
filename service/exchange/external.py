"""The external FHIR server of the settings: what delivers to it and collects from it."""

from service.exchange.client import FhirClient
from service.exchange.collect import Collector
from service.exchange.deliver import Deliverer
from service.referral.house import House
from service.settings import Settings
from service.store.collection_state import CollectionState
from service.store.exchange_state import ExchangeState


def external_server(settings: Settings, house: House) -> Collector | None:
    """What collects from the external server, with its `deliverer`; None when none is set. Calls nothing."""
    if settings.fhir_server_url is None:
        return None
    client = FhirClient(settings.fhir_server_url)
    own_base = f"{settings.public_url}/fhir" if settings.public_url else None
    exchange = ExchangeState(house.store.url)
    deliverer = Deliverer(house.store, exchange, client, house.canonical, house.clock, own_base=own_base)
    return Collector(house, deliverer, CollectionState(house.store.url))
