#!/usr/bin/env python3
"""Writes what programs are made of as CycloneDX 1.5 (JSON): sbom.py TARGET PACKAGE...

Takes crates, versions and licences from `cargo metadata`, and checksums from Cargo.lock. Build scripts, macros and tests are
left out: only what is linked counts.
"""

import json
import subprocess
import sys
import tomllib


def linked(metadata: dict, roots: list[str]) -> tuple[set[str], dict[str, list[str]]]:
    """The ids of all crates that are linked, and what each depends on."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    macros = {
        package["id"]
        for package in metadata["packages"]
        if any("proc-macro" in target["kind"] for target in package["targets"])
    }
    seen, open_ids, edges = set(), list(roots), {}
    while open_ids:
        crate = open_ids.pop()
        if crate in seen:
            continue
        seen.add(crate)
        normal = [
            dependency["pkg"]
            for dependency in nodes[crate]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]) and dependency["pkg"] not in macros
        ]
        edges[crate] = normal
        open_ids += normal
    return seen, edges


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit("usage: sbom.py TARGET PACKAGE...")
    target, names = sys.argv[1], sys.argv[2:]
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    with open("Cargo.lock", "rb") as lock:
        checksums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(lock)["package"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    members = {packages[member]["name"]: member for member in metadata["workspace_members"]}
    roots = [members[name] for name in names]
    crates, edges = linked(metadata, roots)

    def purl(crate: str) -> str:
        return f"pkg:cargo/{packages[crate]['name']}@{packages[crate]['version']}"

    def component(crate: str) -> dict:
        package = packages[crate]
        found = {
            "type": "application" if crate in roots else "library",
            "bom-ref": purl(crate),
            "name": package["name"],
            "version": package["version"],
            "purl": purl(crate),
        }
        if package["license"]:
            # Cargo's old way to write "or".
            found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        if checksum := checksums.get((package["name"], package["version"])):
            found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        return found

    sorted_crates = sorted(crates, key=purl)
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "ocelli",
                "name": "ocelli",
                "version": packages[roots[0]]["version"],
            },
            "properties": [{"name": "target", "value": target}],
        },
        "components": [component(crate) for crate in sorted_crates],
        "dependencies": [{"ref": "ocelli", "dependsOn": sorted(map(purl, roots))}]
        + [{"ref": purl(crate), "dependsOn": sorted(set(map(purl, edges[crate])))} for crate in sorted_crates],
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
