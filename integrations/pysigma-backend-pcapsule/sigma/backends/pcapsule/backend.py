"""Conversion of Sigma rules to KFL and to the rules of `pcapsule check`."""

import json
import re
from typing import Any

import yaml
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.conversion.base import Backend
from sigma.conversion.state import ConversionState
from sigma.exceptions import SigmaFeatureNotSupportedByBackendError
from sigma.rule import SigmaRule
from sigma.types import (
    CompareOperators,
    SigmaRegularExpressionFlag,
    SigmaString,
    SpecialChars,
)

from .fields import CATEGORIES, INTERFACES, NUMBERED_OPERATIONS, SAME_OPERATIONS, ZEEK_SERVICES, Field, Source

MAX_PATTERN = 1000  # bytes of a pattern in KFL
MAX_FIND = 4096  # bytes of a text to find in KFL

# What RE2 lacks: look-around, atomic groups, conditions, flags, back references, escapes of Python and
# possessive repetition.
NOT_RE2 = re.compile(r"(?<!\\)(?:\\\\)*(?:\(\?(?:[=!>(#]|<[=!]|P=|[a-zA-Z-]*[aLux])|\\[1-9gkGZuUN]|[*+?}]\+)")


def quote(value: str) -> str:
    """A text in KFL. Characters outside ASCII stay as they are."""
    out = []
    for char in value:
        if char in '"\\':
            out.append("\\" + char)
        elif char == "\n":
            out.append("\\n")
        elif char == "\t":
            out.append("\\t")
        elif ord(char) < 0x20 or ord(char) == 0x7F:
            out.append(f"\\x{ord(char):02x}")
        else:
            out.append(char)
    return '"' + "".join(out) + '"'


def unsupported(message: str) -> SigmaFeatureNotSupportedByBackendError:
    return SigmaFeatureNotSupportedByBackendError(message)


class PcapsuleBackend(Backend):
    """Converts Sigma rules for web, DNS, firewall and Zeek logs."""

    name = "pcapsule"
    identifier = "pcapsule"
    formats = {
        "default": "A file of rules for pcapsule check",
        "kfl": "One KFL filter for each rule",
    }
    requires_pipeline = False
    correlation_methods = None

    source: Source  # log source of the rule that is converted

    def convert_rule(self, rule: SigmaRule, output_format: str | None = None, callback: Any = None) -> list[Any]:
        try:
            self.source = self.find_source(rule)
        except SigmaFeatureNotSupportedByBackendError as error:
            return self.reject(rule, error)
        return super().convert_rule(rule, output_format, callback)

    def reject(self, rule: SigmaRule, error: Exception) -> list[Any]:
        if not self.collect_errors:
            raise error
        self.errors.append((rule, error))
        return []

    def find_source(self, rule: SigmaRule) -> Source:
        source = rule.logsource
        if source.product == "zeek" and source.category is None and source.service in ZEEK_SERVICES:
            return ZEEK_SERVICES[source.service]
        if source.product in (None, "zeek") and source.service is None and source.category in CATEGORIES:
            return CATEGORIES[source.category]
        given = ", ".join(
            f"{key} {value}"
            for key, value in (("category", source.category), ("product", source.product), ("service", source.service))
            if value
        )
        raise unsupported(
            f"log source {given} is not supported: only categories {', '.join(CATEGORIES)} without a product, "
            f"and Zeek's {', '.join(ZEEK_SERVICES)}"
        )

    # Conditions

    def convert_condition_or(self, cond: ConditionOR, state: ConversionState) -> str:
        return self.join(cond.args, " || ", state)

    def convert_condition_and(self, cond: ConditionAND, state: ConversionState) -> str:
        return self.join(cond.args, " && ", state)

    def join(self, args: list[Any], operator: str, state: ConversionState) -> str:
        parts = [part for part in (self.convert_condition(arg, state) for arg in args) if part is not None]
        if operator == " || ":
            parts = merge_equal(parts)
        return parts[0] if len(parts) == 1 else "(" + operator.join(parts) + ")"

    def convert_condition_not(self, cond: ConditionNOT, state: ConversionState) -> str:
        return f"!({self.convert_condition(cond.args[0], state)})"

    def convert_condition_as_in_expression(self, cond: Any, state: ConversionState) -> str:
        return self.convert_condition_or(cond, state)

    def decide_convert_condition_as_in_expression(self, cond: Any, state: ConversionState) -> bool:
        return False

    # Fields

    def field(self, name: str) -> Field:
        known = self.source.fields.get(name)
        if known is None:
            raise unsupported(f"field {name} has no equivalent in KFL for this log source")
        return known

    def convert_condition_field_eq_val_str(self, cond: ConditionFieldEqualsValueExpression, state: Any) -> str:
        return self.compare_text(cond.field, cond.value, False)

    def convert_condition_field_eq_val_str_case_sensitive(self, cond: Any, state: Any) -> str:
        return self.compare_text(cond.field, cond.value, True)

    def compare_text(self, name: str, value: SigmaString, cased: bool) -> str:
        field = self.field(name)
        if any(not isinstance(part, (str, SpecialChars)) for part in value.s):
            raise unsupported(f"field {name}: placeholders are not supported")
        special = any(isinstance(part, SpecialChars) for part in value.s)
        plain = "".join(part for part in value.s if isinstance(part, str))
        match field.kind:
            case "text" | "list" | "header":
                if field.kind == "header" and not value.s:
                    return f"({field.kfl[0]} == nil || {field.kfl[0]} == \"\")"
                return any_of(field, value.s, lambda x: text_condition(x, value.s, cased))
            case "int" if special or not plain.isdigit():
                number = field.kfl[0]
                return text_condition(f"string({number})", value.s, cased)
            case "int":
                return f"{field.kfl[0]} == {int(plain)}"
            case "ip" if special:
                return text_condition(f"string({field.kfl[0]})", value.s, cased)
            case "ip":
                return f"{field.kfl[0]} == {quote(plain)}"
            case "bool" if not special and plain.lower() in ("true", "false", "t", "f"):
                return f"({field.kfl[0]})" if plain[0] in "tT" else f"!({field.kfl[0]})"
            case "suffix" if not special and plain and "." not in plain and "/" not in plain:
                return text_condition(field.kfl[0], [SpecialChars.WILDCARD_MULTI, "." + plain], cased)
            case "serial" if not special and re.fullmatch("[0-9A-Fa-f]+", plain):
                return f"{field.kfl[0]} == {quote(plain.lower().lstrip('0') or '0')}"
            case "kerberos_request" if not special and plain.upper() in ("AS", "TGS"):
                return f'{field.kfl[0]} in ["{plain.upper()}-REQ", "{plain.upper()}-REP"]'
            case "interface" if not special and plain.lower() in INTERFACES:
                return "(" + " || ".join(text_condition(x, [plain], cased) for x in ("dcerpc_interface", "smb_rpc_interface")) + ")"
            case "operation":
                return self.operation(name, value, plain, special)
        raise unsupported(f"field {name}: value {value} has no equivalent in KFL")

    def operation(self, name: str, value: SigmaString, plain: str, special: bool) -> str:
        """An operation of DCE/RPC, called over TCP or over a pipe of SMB."""
        if plain.lower() in NUMBERED_OPERATIONS and not special:
            interface, number = NUMBERED_OPERATIONS[plain.lower()]
            return (
                f'(dcerpc_interface == "{interface}" && dcerpc_opnum == {number} || '
                f'smb_rpc_interface == "{interface}" && smb_rpc_opnum == {number})'
            )
        # Both programs name all operations of MS-EFSR as the specification does.
        efs = plain.lower().startswith("efs") and value.s[0] == plain
        if not efs and (special or plain.lower() not in SAME_OPERATIONS):
            raise unsupported(f"field {name}: value {value} has no equivalent in KFL")
        return "(" + " || ".join(text_condition(x, value.s, False) for x in ("dcerpc_operation", "smb_rpc_operation")) + ")"

    def convert_condition_field_eq_val_num(self, cond: Any, state: Any) -> str:
        field = self.field(cond.field)
        if field.kind == "int" and isinstance(cond.value.number, int):
            return f"{field.kfl[0]} == {cond.value.number}"
        return self.compare_text(cond.field, SigmaString(str(cond.value.number), escape=False), False)

    def convert_condition_field_eq_val_bool(self, cond: Any, state: Any) -> str:
        return self.compare_text(cond.field, SigmaString("true" if cond.value.boolean else "false"), False)

    def convert_condition_field_compare_op_val(self, cond: Any, state: Any) -> str:
        field = self.field(cond.field)
        operators = {
            CompareOperators.LT: "<",
            CompareOperators.LTE: "<=",
            CompareOperators.GT: ">",
            CompareOperators.GTE: ">=",
        }
        if field.kind != "int" or cond.value.op not in operators:
            raise unsupported(f"field {cond.field}: modifier {cond.value.op.name.lower()} has no equivalent in KFL")
        return f"{field.kfl[0]} {operators[cond.value.op]} {cond.value.number}"

    def convert_condition_field_eq_val_re(self, cond: Any, state: Any) -> str:
        field = self.field(cond.field)
        pattern = str(cond.value.regexp)
        if NOT_RE2.search(pattern):
            raise unsupported(f"field {cond.field}: modifier re: {pattern} needs what RE2 lacks, such as look-around")
        flags = "".join(
            letter
            for flag, letter in (
                (SigmaRegularExpressionFlag.IGNORECASE, "i"),
                (SigmaRegularExpressionFlag.MULTILINE, "m"),
                (SigmaRegularExpressionFlag.DOTALL, "s"),
            )
            if flag in cond.value.flags
        )
        if flags:
            pattern = f"(?{flags}){pattern}"
        if field.kind not in ("text", "list", "header"):
            raise unsupported(f"field {cond.field}: modifier re has no equivalent in KFL")
        return any_of(field, None, lambda x: f"{x} =~ {pattern_text(pattern)}")

    def convert_condition_field_eq_val_cidr(self, cond: Any, state: Any) -> str:
        field = self.field(cond.field)
        if field.kind == "list" and field.kfl == ("dns_answers",):
            raise unsupported(f"field {cond.field}: modifier cidr has no equivalent in KFL")
        if field.kind != "ip":
            raise unsupported(f"field {cond.field}: modifier cidr needs an address")
        return f"{field.kfl[0]} in {quote(str(cond.value.network))}"

    def convert_condition_field_eq_val_null(self, cond: Any, state: Any) -> str:
        field = self.field(cond.field)
        if field.kind == "header":
            return f"({field.kfl[0]} == nil || {field.kfl[0]} == \"\")"
        if field.kind not in ("text", "int", "ip", "list"):
            raise unsupported(f"field {cond.field}: null has no equivalent in KFL")
        return f"{field.kfl[-1]} == nil"

    def convert_condition_field_exists(self, cond: Any, state: Any) -> str:
        return f"!({self.convert_condition_field_eq_val_null(cond, state)})"

    def convert_condition_field_not_exists(self, cond: Any, state: Any) -> str:
        return self.convert_condition_field_eq_val_null(cond, state)

    def convert_condition_field_eq_field(self, cond: Any, state: Any) -> str:
        raise unsupported(f"field {cond.field}: modifier fieldref is not supported")

    def convert_condition_field_eq_val_timestamp_part(self, cond: Any, state: Any) -> str:
        raise unsupported(f"field {cond.field}: parts of a time are not supported")

    def convert_condition_field_eq_query_expr(self, cond: Any, state: Any) -> str:
        raise unsupported(f"field {cond.field}: query expressions are not supported")

    # Keywords: values without a field

    def convert_condition_val_str(self, cond: ConditionValueExpression, state: Any) -> str:
        if not self.source.keywords:
            raise unsupported(f"keyword {cond.value} without a field is not supported for this log source")
        if any(not isinstance(part, (str, SpecialChars)) for part in cond.value.s):
            raise unsupported("placeholders are not supported")
        parts = [SpecialChars.WILDCARD_MULTI, *cond.value.s, SpecialChars.WILDCARD_MULTI]
        while len(parts) > 2 and parts[1] == SpecialChars.WILDCARD_MULTI:
            del parts[1]
        while len(parts) > 2 and parts[-2] == SpecialChars.WILDCARD_MULTI:
            del parts[-2]
        return "(" + " || ".join(text_condition(group(x), parts, False) for x in self.source.keywords) + ")"

    def convert_condition_val_num(self, cond: Any, state: Any) -> str:
        raise unsupported(f"keyword {cond.value} is a number without a field")

    def convert_condition_val_re(self, cond: Any, state: Any) -> str:
        raise unsupported("a regular expression without a field is not supported")

    def convert_condition_query_expr(self, cond: Any, state: Any) -> str:
        raise unsupported("query expressions are not supported")

    # Correlations

    def convert_correlation_rule(self, rule: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return self.reject(rule, unsupported("correlation rules are not supported"))

    # The base class requires a method for each kind; convert_correlation_rule rejects all of them.
    convert_correlation_event_count_rule = convert_correlation_rule
    convert_correlation_value_count_rule = convert_correlation_rule
    convert_correlation_temporal_rule = convert_correlation_rule
    convert_correlation_temporal_ordered_rule = convert_correlation_rule
    convert_correlation_extended_temporal_rule = convert_correlation_rule
    convert_correlation_extended_temporal_ordered_rule = convert_correlation_rule
    convert_correlation_value_sum_rule = convert_correlation_rule
    convert_correlation_value_avg_rule = convert_correlation_rule
    convert_correlation_value_percentile_rule = convert_correlation_rule
    convert_correlation_value_median_rule = convert_correlation_rule

    # Output

    def finalize_query_kfl(self, rule: SigmaRule, query: str, index: int, state: Any) -> str:
        return f"{self.source.calls} && {query}" if self.source.calls else query

    def finalize_output_kfl(self, queries: list[str]) -> list[str]:
        return queries

    def finalize_query_default(self, rule: SigmaRule, query: str, index: int, state: Any) -> dict[str, Any]:
        level = rule.level.name.lower() if rule.level else "medium"
        out: dict[str, Any] = {"name": rule.title}
        if rule.id:
            out["id"] = str(rule.id)
        if rule.description:
            out["doc"] = rule.description
        out["level"] = "error" if level in ("high", "critical") else "warning"
        out["severity"] = level
        techniques = [tag.name.upper() for tag in rule.tags if tag.namespace == "attack" and re.fullmatch(r"t\d{4}(\.\d{3})?", tag.name)]
        if techniques:
            out["techniques"] = techniques
        if rule.references:
            out["references"] = list(rule.references)
        if self.source.calls:
            out["calls"] = self.source.calls
        out["never"] = query
        out["min_calls"] = 0
        return out

    def finalize_output_default(self, queries: list[dict[str, Any]]) -> str:
        names: set[str] = set()
        for rule in queries:
            title, number = rule["name"], 1
            while rule["name"] in names:
                number += 1
                rule["name"] = f"{title} ({number})"
            names.add(rule["name"])
        return yaml.safe_dump({"version": 1, "rules": queries}, sort_keys=False, allow_unicode=True, width=1_000_000)


def any_of(field: Field, parts: list[Any] | None, condition: Any) -> str:
    """A condition on a field: true for one of its expressions, and one element of a list."""
    if field.kind == "list":
        # Fields of Sigma that are lists match if one element does.
        return f"{field.kfl[0]}.exists(e, {condition('e')})"
    found = field.kfl
    if parts and parts[0] == SpecialChars.WILDCARD_MULTI:
        found = found[:1]  # the others are its end
    out = [condition(group(x)) for x in found]
    return out[0] if len(out) == 1 else "(" + " || ".join(out) + ")"


def group(expression: str) -> str:
    """An expression that can be followed by a method."""
    return f"({expression})" if " + " in expression else expression


def pattern_text(pattern: str) -> str:
    if len(pattern.encode()) > MAX_PATTERN:
        raise unsupported(f"pattern {pattern[:60]}… is longer than {MAX_PATTERN} bytes")
    return quote(pattern)


def text_condition(x: str, parts: list[Any], cased: bool) -> str:
    """Compare a text with a value of Sigma: literal parts and wildcards. Case is ignored unless cased."""
    many = SpecialChars.WILDCARD_MULTI
    literal = [part for part in parts if isinstance(part, str)]
    if parts == [many]:
        return f"{x} != nil"
    start, end = parts[:1] == [many], parts[-1:] == [many]
    inner = parts[1 if start else 0 : len(parts) - 1 if end else len(parts)]
    value = inner[0] if inner else ""
    if len(inner) > 1 or not isinstance(value, str) or not cased and not value.isascii():
        body = "".join(
            re2_literal(part) if isinstance(part, str) else ".*" if part == many else "." for part in inner
        )
        flags = "(?s)" if cased else "(?is)"
        return f"{x} =~ {pattern_text(flags + ('' if start else '^') + body + ('' if end else '$'))}"
    if any(len(part.encode()) > MAX_FIND for part in literal):
        raise unsupported(f"value {value[:60]}… is longer than {MAX_FIND} bytes")
    if not cased and value.lower() != value.upper():
        x, value = x + ".lowerAscii()", value.lower()
    if start and end:
        return f"{x}.contains({quote(value)})"
    if start:
        return f"{x}.endsWith({quote(value)})"
    if end:
        return f"{x}.startsWith({quote(value)})"
    return f"{x} == {quote(value)}"


def re2_literal(text: str) -> str:
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


EQUAL = re.compile(r'(.+?) == ("(?:[^"\\]|\\.)*"|\d+)')


def merge_equal(parts: list[str]) -> list[str]:
    """Write x == a || x == b as x in [a, b]."""
    out: list[str] = []
    values: dict[str, tuple[int, list[str]]] = {}
    for part in parts:
        match = EQUAL.fullmatch(part)
        if match is None or any(word in match[1] for word in (" ", "(e, ")):
            out.append(part)
            continue
        place, list_ = values.setdefault(match[1], (len(out), []))
        if not list_:
            out.append(part)
        list_.append(match[2])
        if len(list_) > 1:
            out[place] = f"{match[1]} in [{', '.join(list_)}]"
    return out
