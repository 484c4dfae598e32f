"""Pictures fetched from the web: politely, within bounds, from public addresses alone, each once.

Built on httpcore2, the engine under the HTTP client of huggingface_hub, so that it is there already: its network
backend is replaced by one that connects to the address that was checked (:mod:`.connecting`), and it follows no
redirect, unpacks nothing and reads no proxy from the environment by itself. robots.txt is read by protego.
"""
