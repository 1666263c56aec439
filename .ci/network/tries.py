"""Raw flock(2): threads of four processes try the locks of two files until they have them,
and close and open their descriptors. Nothing waits in the kernel, and no process is killed.
When all are gone, no process may hold a lock.

	tries.py DIR ROUNDS exclusive|shared
"""

import fcntl
import os
import random
import sys
import threading
import time

directory, rounds, shared = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "shared"


def acquire(f, kind, end):
    while time.time() < end:
        try:
            fcntl.flock(f, kind | fcntl.LOCK_NB)
            return True
        except OSError:
            time.sleep(0.001 + random.random() * 0.004)
    return False


def thread(paths, end):
    files = [os.open(p, os.O_RDWR) for p in paths]
    while time.time() < end:
        i = random.randrange(len(files))
        kind = fcntl.LOCK_SH if shared and random.random() < 0.6 else fcntl.LOCK_EX
        if not acquire(files[i], kind, end + 6):
            return
        time.sleep(random.random() * 0.002)
        fcntl.flock(files[i], fcntl.LOCK_UN)
        if random.random() < 0.1:
            os.close(files[i])
            files[i] = os.open(paths[i], os.O_RDWR | os.O_NONBLOCK) # a second kind of descriptor


def child(paths, end):
    random.seed(os.getpid())
    threads = [threading.Thread(target=thread, args=(paths, end)) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    os._exit(0)


bad = 0
for n in range(rounds):
    paths = ["%s/%d.%d.%d" % (directory, os.getpid(), n, i) for i in range(2)]
    for p in paths:
        os.close(os.open(p, os.O_RDWR | os.O_CREAT))
    end = time.time() + 5
    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            child(paths, end)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    files = [os.open(p, os.O_RDWR) for p in paths]
    try:
        for f in files:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        bad += 1
    for f in files:
        os.close(f)
print("a lock that no process holds after %d of %d rounds" % (bad, rounds))
