"""For any WSGI server: `wsgi:app`."""

from service import garbage
from service.app import create_app
from service.settings import Settings

app = create_app(Settings.from_env())
garbage.look_seldom()
