"""TLS in front of a server that has none: a certificate for 127.0.0.1, and a process that ends TLS and passes on what
is said: `python tls.py CERTIFICATE KEY PORT TARGET…`, with a target port for PORT and one for PORT + 1000."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

GRPC = 1000


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that vouches for itself, and its key."""
    paths = folder / "ca.pem", folder / "key.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=agentmesh -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


@asynccontextmanager
async def behind_tls(target: int, pair: tuple[Path, Path]) -> AsyncIterator[str]:
    """HOST:PORT of the server at the port `target`, reached by TLS."""
    from deploy.nacos import free_block

    port = free_block()
    arguments = [str(each) for each in (*pair, port, target, target + GRPC)]
    front = await asyncio.create_subprocess_exec(
        sys.executable, __file__, *arguments, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert front.stdout
    await front.stdout.readline()
    yield f"127.0.0.1:{port}"
    front.kill()
    await front.communicate()


async def _serve(pair: tuple[str, str], port: int, targets: list[int]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def listen(offset: int, target: int) -> asyncio.Server:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, here = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(_pass_on(reader, here), _pass_on(there, writer))

        return await asyncio.start_server(serve, "127.0.0.1", port + offset, ssl=context)

    servers = [await listen(offset, target) for offset, target in zip((0, GRPC), targets, strict=True)]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()


if __name__ == "__main__":
    asyncio.run(_serve((sys.argv[1], sys.argv[2]), int(sys.argv[3]), [int(each) for each in sys.argv[4:]]))
