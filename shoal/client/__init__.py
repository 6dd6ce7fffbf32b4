"""How a script connects to a cluster, or runs everything in its own process.

session                            what a script uses: a session, its graphs and their runs
local, local_run, local_replies    the same, all in this process
cluster, connections               a daemon, over its admin socket or from another machine
admin_protocol                     requests and answers on that socket
remote, tunnel, watched_sockets    the same over ZeroMQ, for operators on other machines
key_files                          the keys for that
"""
