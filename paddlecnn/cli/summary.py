"""Show the layers of a network and their costs.

paddlecnn summary vgg16                     layers, parameters, multiply-adds, memory
paddlecnn summary --compare alexnet vgg16   two networks side by side
paddlecnn summary --kernels                 two 3x3 convolutions against one 5x5
paddlecnn summary --list 'vgg*'             the names of the networks
paddlecnn summary --markdown                all networks as the table of docs/models.md
"""

from __future__ import annotations

import json

from paddlecnn.cli.common import CommandParser
from paddlecnn.errors import ModelError
from paddlecnn.runtime import load_paddle


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("summary", __doc__)
    parser.add_argument("model", nargs="?", help="name of a network")
    parser.add_argument("--num-classes", type=int, help="outputs of the last layer; default: the network's own")
    parser.add_argument("--input-size", type=int, help="side of the square input; default: the network's own")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="show all layers of two networks side by side")
    parser.add_argument("--kernels", action="store_true", help="small convolutions stacked against large ones")
    parser.add_argument("--list", nargs="?", const="*", metavar="PATTERN", help="names of the networks")
    parser.add_argument("--markdown", action="store_true", help="print docs/models.md")
    args = parser.parse_args(argv)
    if sum(map(bool, (args.model, args.compare, args.kernels, args.list, args.markdown))) != 1:
        parser.error("give one of: the name of a model, --compare, --kernels, --list, --markdown")
    if args.json and (args.kernels or args.markdown):
        parser.error("--json goes with the name of a model, --compare or --list")
    load_paddle()
    from paddlecnn.models import list_models
    from paddlecnn.models import summary_tables as tables
    from paddlecnn.models.summary import summarize_by_name

    if args.list:
        names = list_models(args.list)
        if not names:
            raise ModelError(f"--list {args.list}: no network matches; `paddlecnn summary --list` names them all")
        print(json.dumps(names) if args.json else "\n".join(names))
    elif args.markdown:
        print(tables.models_page())
    elif args.kernels:
        print(tables.kernel_table())
    else:
        names = args.compare or [args.model]
        found = [summarize_by_name(name, args.num_classes, args.input_size) for name in names]
        if args.json:
            print(json.dumps([summary.as_json() for summary in found] if args.compare else found[0].as_json()))
        else:
            print(tables.comparison(*found) if args.compare else tables.layer_table(found[0]))
    return 0
