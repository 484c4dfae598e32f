"""Pictures fetched from the web: politely, each once.

One request, its bounds and the addresses that it may reach are of :mod:`vitrail.data.fetching`. Here is who is asked
when: robots.txt (read by protego), so many requests a second, patience with what may pass, and a store by content.
"""
