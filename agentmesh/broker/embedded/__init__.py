"""The broker inside the process: one turn of the event loop is one transaction of SQLite.

broker.py   EmbeddedBroker: takes operations, applies them in turns, tells the callers after the commit
tasks.py    what waits and what is leased, in memory
logs.py     heads and tails of the LiteTopics in use, in memory
inboxes.py  who reads what, and what is ready
store.py    the file: statements, commit, open, reload
"""
