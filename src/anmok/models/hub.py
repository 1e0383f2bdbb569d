"""Named weights from the hub: the local cache first, then the network if there is one; nothing hangs."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

from anmok.core.errors import MachineError
from anmok.core.optional import need


def fetch(repo: str, file: str = "model.safetensors") -> Path:
    """The local path of a file of a hub repository, downloaded if need be.

    MachineError (code `offline` or `weights`) that names the weights and says how to bring them.
    """
    hub = need("huggingface_hub", "train")
    errors = need("huggingface_hub.errors", "train")
    with contextlib.suppress(errors.EntryNotFoundError, errors.HfHubHTTPError, OSError):
        return Path(hub.hf_hub_download(repo, file, local_files_only=True))
    instead = "pass --weights FILE.safetensors; or --weights none to train from scratch"
    require_hub(repo, f"the weights {repo} ({file}) are", instead)
    try:
        return Path(hub.hf_hub_download(repo, file, etag_timeout=10))
    except (errors.EntryNotFoundError, errors.XetDownloadError, errors.HTTPError, OSError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise MachineError(
            f"the weights {repo} ({file}) cannot be fetched: {reason}",
            remedy="Only .safetensors weights are read. Pass --weights FILE.safetensors, or --weights none.",
            code="weights",
        ) from error


def require_hub(repo: str, what: str, instead: str) -> None:
    """MachineError (code `offline`) where the hub is not to be asked or does not answer.

    what: is not on this machine, 'the model a/b is'; instead: what the user may do without a network.
    """
    constants = need("huggingface_hub.constants", "train")
    if not constants.HF_HUB_OFFLINE and _reachable(constants.ENDPOINT):
        return
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
    raise MachineError(
        f"{what} not on this machine, and {reason}.", code="offline",
        remedy=f"Where there is a network, run `hf download {repo}` and copy the folder "
        f"models--{repo.replace('/', '--')} to {constants.HF_HUB_CACHE}; or {instead}.",
    )  # fmt: skip


def _reachable(endpoint: str, seconds: float = 3.0) -> bool:
    """Whether somebody answers there; the look-up of the name, which knows no time limit, is waited for no longer."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    url = urlsplit(endpoint)
    answered: list[bool] = []

    def ask() -> None:
        with contextlib.suppress(OSError):
            port = url.port or (443 if url.scheme == "https" else 80)
            socket.create_connection((url.hostname or "", port), seconds).close()
            answered.append(True)

    thread = threading.Thread(target=ask, daemon=True, name="anmok-hub")
    thread.start()
    thread.join(seconds + 1)
    return bool(answered)
