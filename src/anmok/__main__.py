"""`python -m anmok`, as torchrun and `--ranks` start it."""

import os

from anmok.cli import main
from anmok.core.leave import leave

if os.environ.get("WORLD_SIZE", "1") == "1":
    main()
else:
    try:
        main()
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)
    leave(0)
