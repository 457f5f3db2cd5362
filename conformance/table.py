"""Counts results by operation.

table.py [--write PAGE | --only NAME] FOLDER RESULTS [FOLDER RESULTS]...: prints tables of the results of each folder's cases, and what is
wrong. With --write it puts the tables into a page, between its two marks. With --only the results are those of one operation. Exits with
1 if a value is wrong, a case panics or was not run.
"""
import collections, datetime, json, re, sys

MARKS = ["<!-- counts -->", "<!-- end of counts -->"]
COLUMNS = ["right", "wrong", "panic", "error", "not expressible"]
RANK = {"right": 0, "error": 1, "wrong": 2, "panic": 3}
TITLES = {"torch": "PyTorch's operator and optimizer databases", "special": "NaN and infinities, against PyTorch", "onnx": "ONNX's node tests"}


def lines(path): return (json.loads(line) for line in open(path))
def operation(id): return id.split("/")[1]
def number(n): return f"{n:,}" if n else ""
def markdown(head, rows): return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] + ["---:"] * (len(head) - 1), *rows])


class Suite:
    def __init__(self, folder, results, only):
        self.name = folder.rstrip("/").split("/")[-1]
        self.title, self.only, self.about = TITLES[self.name], only, json.load(open(f"{folder}/about.json"))
        device, *runs = lines(results)
        self.device, self.runs = f"{device['memory']}{'' if device['f16'] else ', which has no f16'}", len(runs)
        self.bad = [run for run in runs if run["status"] in ("wrong", "panic")]
        # A case counts once, by the worst of its runs.
        worst = {}
        for run in runs: worst[run["id"]] = max(run["status"], worst.get(run["id"], "right"), key=RANK.get)
        self.missing = [] if only else [case["id"] for case in lines(f"{folder}/cases.jsonl") if case["id"] not in worst]
        self.rows = collections.defaultdict(collections.Counter)
        for id, outcome in worst.items(): self.rows[operation(id)][outcome] += 1
        # Of equal errors, apart from the numbers in them, one stands for all.
        self.errors = collections.defaultdict(dict)
        for run in runs:
            if run["status"] == "error": self.errors[re.sub(r"\d+|\[.*?\]|\w+: ", "", run["why"])][run["id"]] = run["why"]
        self.beyond = collections.Counter(operation(id) for id in {run["id"] for run in runs if run.get("beyond_torch")})
        self.reasons = collections.Counter()
        for case in lines(f"{folder}/inexpressible.jsonl"):
            if only and operation(case["id"]) not in self.rows: continue
            self.reasons.update(case["reasons"])
            # Another result of a sample whose first one is a case.
            if "#more" not in case["id"]: self.rows[operation(case["id"])]["not expressible"] += 1
        self.total = sum(self.rows.values(), collections.Counter())
        self.cases = len(worst)

    def counts(self): return [f"{self.total[column]:,}" for column in COLUMNS]

    def table(self):
        rows = [[f"`{name}`", *(number(row[column]) for column in COLUMNS)] for name, row in sorted(self.rows.items())]
        return markdown(["operation", *COLUMNS], [*rows, ["all", *self.counts()]])

    def text(self):
        parts = [f"## {self.title}", self.table()]
        if self.beyond:
            parts.append("Right by the accuracy that the crate documents, and not by PyTorch's tolerance, which is smaller there: "
                         + ", ".join(f"{count} of `{name}`" for name, count in sorted(self.beyond.items())) + ".")
        if self.errors:
            rows = [[f"`{list(cases.values())[0]}`", number(len(cases))] for _, cases in sorted(self.errors.items(), key=lambda e: -len(e[1]))]
            parts += ["What is refused, with an example of each error:", markdown(["error", "cases"], rows)]
        if self.reasons:
            rows = [[reason, number(count)] for reason, count in sorted(self.reasons.items(), key=lambda r: (-r[1], r[0]))]
            parts += ["What samples need that no case has yet; a sample can need several things:", markdown(["what", "samples"], rows)]
        if self.only: return "\n\n".join(parts)
        for what, count in self.about["skipped"].items(): parts.append(f"Left out: {count:,} {what}.")
        if self.about["absent"]:
            parts.append(f"<details><summary>{len(self.about['absent'])} entries that make no cases</summary>\n\n"
                         + ", ".join(f"`{name}`" for name in self.about["absent"]) + "\n\n</details>")
        return "\n\n".join(parts)


def summary(suites):
    versions = {name: version for suite in suites for name, version in suite.about["versions"].items()}
    versions = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    rows = [[suite.title, number(suite.cases), number(suite.runs), *suite.counts()] for suite in suites]
    return f"{datetime.date.today():%d %B %Y}, on {suites[0].device}; {versions}.\n\n" + markdown(["suite", "cases", "runs", *COLUMNS], rows)


def main():
    arguments, page, only = sys.argv[1:], None, None
    if arguments[0] == "--write": page, arguments = arguments[1], arguments[2:]
    elif arguments[0] == "--only": only, arguments = arguments[1], arguments[2:]
    suites = [Suite(folder, results, only) for folder, results in zip(arguments[::2], arguments[1::2])]
    if only: suites = [suite for suite in suites if suite.runs]
    if not suites: sys.exit(f"no case is of an operation named {only}; docs/CONFORMANCE.md lists them all")
    text = "\n\n".join([summary(suites), *(suite.text() for suite in suites)])
    wrong = [run for suite in suites for run in suite.bad]
    missing = [id for suite in suites for id in suite.missing]
    print(summary(suites) if page else text)
    for run in wrong[:100]: print("wrong:", json.dumps(run)[:500])
    if missing: sys.exit(f"{len(missing)} cases were not run, such as {missing[0]}")
    if page:
        before, rest = open(page).read().split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        open(page, "w").write(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}")
    if wrong: sys.exit(f"{len(wrong)} runs are wrong or panic")


main()
