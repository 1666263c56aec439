# Between User-Mode Linux and virtiofsd: the kernel sends the table of memory regions
# (SET_MEM_TABLE) with room for two, however many there are, and the server takes no
# message that is longer than its contents.
#
#	python3 vhost-shim.py LISTEN SERVER
import array
import os
import socket
import struct
import sys
import threading

SET_MEM_TABLE = 5


def receive(s):
    """Returns a message of vhost-user: request, flags, body, descriptors. None at the end."""
    head, ancillary, _, _ = s.recvmsg(12, socket.CMSG_SPACE(64 * 4))
    descriptors = []
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors += array.array("i", data[: len(data) - len(data) % 4]).tolist()

    def rest(data, size):
        while len(data) < size:
            more = s.recv(size - len(data))
            if not more:
                return None
            data += more
        return data

    head = rest(head, 12)
    if head is None:
        return None
    request, flags, size = struct.unpack("<III", head)
    body = rest(b"", size)
    return None if body is None else (request, flags, body, descriptors)


def forward(source, to, shorten):
    while message := receive(source):
        request, flags, body, descriptors = message
        if shorten and request == SET_MEM_TABLE:
            (regions,) = struct.unpack_from("<I", body)
            body = body[: 8 + 32 * regions]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        message = struct.pack("<III", request, flags, len(body)) + body
        sent = to.sendmsg([message], rights)
        to.sendall(message[sent:])
        for d in descriptors:
            os.close(d)
    os._exit(0)


listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1)
kernel, _ = listener.accept()
server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[2])
threading.Thread(target=forward, args=(server, kernel, False), daemon=True).start()
forward(kernel, server, True)
