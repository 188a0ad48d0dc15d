"""The tag of the node image: a hash of what it is built from. Needs nothing but the standard library.

What counts lies in the checkout: the Dockerfile, the scripts that build, the requirements, and what scripts/image.sh
put into image/certs (contents) and image/wheels (names and sizes: a wheel is 200 MB, and its name says what it is).
"""

import hashlib
from pathlib import Path

REPOSITORY = "roambed-node"
FILES = ("Dockerfile", "image/requirements.txt", "scripts/base_image.sh")


def tag(root: Path) -> str:
    """``roambed-node:<12 hex digits>`` for the checkout at ``root``."""
    digest = hashlib.sha256()
    for name in FILES:
        _add(digest, name, (root / name).read_bytes())
    for path in sorted((root / "image" / "certs").glob("*.crt")):
        _add(digest, f"image/certs/{path.name}", path.read_bytes())
    for path in sorted((root / "image" / "wheels").glob("*.whl")):
        _add(digest, f"image/wheels/{path.name}", str(path.stat().st_size).encode())
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def _add(digest: "hashlib._Hash", name: str, content: bytes) -> None:
    digest.update(f"{name}\0{len(content)}\0".encode())
    digest.update(content)


if __name__ == "__main__":
    print(tag(Path(__file__).resolve().parent.parent))
