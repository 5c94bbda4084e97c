"""PostgreSQL: versioned resources, search, referrals, journal, deadlines, migrations. Only this package knows SQL.

    store = Store(url)
    store.migrate()
    with store.change() as change:          # one write transaction; commits at the end, rolls back on any exception
        if change.open_referral(row): ...
        change.write([...]); change.journal([...]); change.defer("deliver_referral", {...}, queueing_lock=...)
    view = store.view()                     # reads; each call on its own connection, nothing to close
    view.search(parse_query("Task", [("status", "requested")], strict=False))

`embedded.start(data_dir)` gives a PostgreSQL to run on; `query.parse_query` is pure.
"""
