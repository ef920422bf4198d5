"""How well tools are found: real tools, honest questions, and ten thousand tools in the way.

`tools.json` holds what 19 real servers answer to tools/list: names, descriptions and schemas, data
of those projects under their licences (MIT and Apache-2.0), with package and version beside each.
`queries.json` holds questions as a person or an agent would ask them, not in the words of the
tools, written before the search was; where several tools are right, it says why. What is tuned is
tuned on one half only (`Query.half`); figures are told for both halves.
"""
