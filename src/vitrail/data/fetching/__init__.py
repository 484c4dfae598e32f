"""One picture fetched from an address, within bounds, from public addresses alone: what curation and serving share.

Built on httpcore2, the engine under the HTTP client of huggingface_hub, so that it is there already: its network
backend is replaced by one that connects to the address that was checked (:mod:`.connecting`), and it follows no
redirect, unpacks nothing, sends no credentials and reads no proxy from the environment by itself. How often and whether
a site wants to be asked is the matter of who asks (:mod:`vitrail.curation.fetching`, :mod:`vitrail.serving.fetching`).
"""
