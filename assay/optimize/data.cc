#include "assay/optimize/data.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/base/nearest.h"
#include "assay/contract/dataset.h"
#include "assay/program/schema.h"

namespace assay {
namespace {

// One CSV record at a time; quotes may hold commas, doubled quotes and line ends.
class CsvReader {
 public:
  CsvReader(std::string_view text, std::string name, std::size_t line_bytes_max)
      : text_(text), name_(std::move(name)), line_bytes_max_(line_bytes_max) {}

  bool at_end() const { return at_ >= text_.size(); }
  std::size_t line() const { return line_; }

  Result<std::vector<std::string>> record() {
    std::vector<std::string> cells(1);
    const std::size_t begin = at_, first_line = line_;
    bool quoted = false, closed = false;  // inside quotes; behind the quote that ended a cell
    while (at_ < text_.size()) {          // ends: every round consumes a byte or returns
      if (at_ - begin > line_bytes_max_) return error(first_line, "the record is too long", ErrorCode::limit_exceeded);
      const char c = text_[at_++];
      if (c == '\n') ++line_;
      if (quoted) {
        if (c != '"') cells.back() += c;
        else if (at_ < text_.size() && text_[at_] == '"') cells.back() += text_[at_++];
        else quoted = false, closed = true;
      } else if (closed && c != ',' && c != '\n' && !(c == '\r' && at_ < text_.size() && text_[at_] == '\n')) {
        return error(line_, "text follows the quote that ends a cell (a quote inside a cell is written twice)");
      } else if (c == '"' && cells.back().empty()) {
        quoted = true;
      } else if (c == ',') {
        cells.emplace_back();
        closed = false;
      } else if (c == '\n') {
        if (!cells.back().empty() && cells.back().back() == '\r') cells.back().pop_back();
        return cells;
      } else {
        cells.back() += c;
      }
    }
    if (quoted) return error(first_line, "a quote is not closed");
    return cells;
  }

  std::unexpected<Error> error(std::size_t line, std::string message, ErrorCode code = ErrorCode::malformed) const {
    return fail(code, std::move(message), "see RFC 4180 for the form of CSV", fmt::format("{}:{}", name_, line));
  }

 private:
  std::string_view text_;
  std::string name_;
  std::size_t line_bytes_max_;
  std::size_t at_ = 0, line_ = 1;
};

std::string column_of(const JsonObject& fields, const std::string& field) {
  const Json* column = fields.find(field);
  return column != nullptr && column->is_string() ? column->as_string() : field;
}

Result<Json> typed_cell(const std::string& cell, const Field& field) {
  if (is_string_schema(field.schema)) return Json(cell);
  auto value = value_from_text(cell, field.schema, nullptr);
  if (!value)
    return fail(ErrorCode::malformed, fmt::format("the field '{}': {}", field.name, value.error().message), value.error().remedy,
                field.name);
  return value;
}

std::vector<const Field*> all_fields(const Signature& signature) {
  std::vector<const Field*> out;
  for (const Field& field : signature.inputs) out.push_back(&field);
  for (const Field& field : signature.outputs) out.push_back(&field);
  return out;
}

std::string names_of(const std::vector<std::string>& columns) {
  std::string out;
  for (const std::string& column : columns) out += (out.empty() ? "" : ", ") + column;
  if (out.empty()) return "none";
  return out.size() > 300 ? "(too many to list)" : out;
}

// A row's label is an output of the signature, whichever; `fields` says under which name the file has it.
Result<void> require_labels(const Signature& signature, const JsonObject& fields, bool any_label, const std::string& name,
                            const std::string& columns) {
  if (any_label) return {};
  std::vector<std::string> outputs;
  for (const Field& field : signature.outputs) outputs.push_back(column_of(fields, field.name));
  return fail(ErrorCode::malformed, fmt::format("no label: none of the program's outputs ({}) is among the columns", names_of(outputs)),
              "columns here: " + columns + "; [data] fields, or eval --map FIELD=COLUMN, maps fields to columns", name);
}

std::vector<std::string> members_of(const Json& row) {
  std::vector<std::string> out;
  for (const auto& [name, value] : row.as_object()) out.push_back(name);
  return out;
}

Result<std::string> data_path(const std::string& folder, const std::string& file) {
  const std::filesystem::path path(file);
  return path.is_absolute() ? file : (std::filesystem::path(folder) / path).string();
}

std::vector<std::string> hashes(const std::vector<Row>& rows) {
  std::vector<std::string> out;
  for (const Row& row : rows) out.push_back(row.input_hash);
  return out;
}

}  // namespace

Result<Row> make_row(const Signature& signature, const Json& inputs, const Json& labels) {
  Row row;
  ASSAY_TRY(const Json typed, signature.check_inputs(inputs));
  for (const auto& [key, value] : labels.as_object()) {
    const Field* field = signature.output(key);
    if (field == nullptr) return fail(ErrorCode::malformed, fmt::format("'{}' is no output of the signature", key));
    if (auto fits = check_value(value, field->schema); !fits)  // a bad file, not a comparison that does not hold
      return fail(ErrorCode::malformed, fits.error().message, fits.error().remedy, key);
  }
  ASSAY_TRY(row.input_hash, input_hash(typed));
  ASSAY_TRY(row.example_hash, example_hash(typed, labels));
  row.segment = "ex:" + row.example_hash.substr(0, 16);
  row.example = Example(typed, labels);
  return row;
}

Result<std::vector<Row>> parse_csv(std::string_view text, const std::string& name, const Signature& signature, const JsonObject& fields,
                                   const DataLimits& limits) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // spreadsheets write it; it is no part of the first name
  CsvReader reader(text, name, limits.line_bytes_max);
  ASSAY_TRY(const std::vector<std::string> header, reader.record());
  struct Column {
    std::size_t index;
    const Field* field;
    bool input;
  };
  std::vector<Column> columns;
  bool any_label = false;
  for (const Field* field : all_fields(signature)) {
    const bool input = signature.input(field->name) != nullptr;
    const auto at = std::find(header.begin(), header.end(), column_of(fields, field->name));
    if (at != header.end() && std::find(at + 1, header.end(), *at) != header.end()) {
      return fail(ErrorCode::malformed, fmt::format("two columns are called '{}'", *at), "give each column its own name", name + ":1");
    }
    if (at != header.end()) {
      columns.push_back({static_cast<std::size_t>(at - header.begin()), field, input});
      any_label = any_label || !input;
    } else if (input && !is_optional(field->schema)) {
      return fail(ErrorCode::malformed, fmt::format("no column '{}'", column_of(fields, field->name)),
                  "columns here: " + names_of(header) + "; [data] fields maps fields to columns", name + ":1");
    }
  }
  ASSAY_CHECK(require_labels(signature, fields, any_label, name + ":1", names_of(header)));
  std::vector<Row> rows;
  while (!reader.at_end()) {  // ends: every record consumes at least one byte
    const std::size_t line = reader.line();
    ASSAY_TRY(const std::vector<std::string> cells, reader.record());
    if (cells.size() == 1 && trim(cells[0]).empty()) continue;
    if (cells.size() != header.size())
      return reader.error(line, fmt::format("{} cells, the first line names {}", cells.size(), header.size()));
    if (rows.size() == limits.rows_max) return reader.error(line, "too many rows", ErrorCode::limit_exceeded);
    Json inputs = JsonObject{}, labels = JsonObject{};
    for (const Column& column : columns) {
      if (!valid_utf8(cells[column.index])) return reader.error(line, fmt::format("the cell of '{}' is not UTF-8", column.field->name));
      auto value = typed_cell(cells[column.index], *column.field);
      if (!value) return std::unexpected(std::move(value.error()).in(fmt::format("{}:{}", name, line)));
      (column.input ? inputs : labels).set(column.field->name, std::move(*value));
    }
    auto row = make_row(signature, inputs, labels);
    if (!row) return std::unexpected(std::move(row.error()).in(fmt::format("{}:{}", name, line)));
    rows.push_back(std::move(*row));
  }
  return rows;
}

Result<std::vector<Row>> parse_jsonl(std::string_view text, const std::string& name, const Signature& signature, const JsonObject& fields,
                                     const DataLimits& limits) {
  std::vector<Row> rows;
  std::size_t line = 0;
  while (!text.empty()) {  // ends: every round takes a line off
    ++line;
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view one = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (trim(one).empty()) continue;
    const auto place = [&](Error error) { return std::unexpected(std::move(error).in(fmt::format("{}:{}", name, line))); };
    if (rows.size() == limits.rows_max) return place({ErrorCode::limit_exceeded, "too many rows", "", ""});
    auto value = read_json(one, {.bytes_max = limits.line_bytes_max});
    if (!value) return place(value.error());
    if (!value->is_object()) return place({ErrorCode::malformed, "a row is an object", "", ""});
    Json inputs = JsonObject{}, labels = JsonObject{};
    for (const Field* field : all_fields(signature)) {
      const bool input = signature.input(field->name) != nullptr;
      const Json* cell = value->as_object().find(column_of(fields, field->name));
      if (cell != nullptr) (input ? inputs : labels).set(field->name, *cell);
      else if (input && !is_optional(field->schema))
        return place({ErrorCode::malformed, fmt::format("no member '{}'", column_of(fields, field->name)), "",
                      "[data] fields maps fields to members"});
    }
    if (auto labelled = require_labels(signature, fields, !labels.as_object().empty(), "", names_of(members_of(*value))); !labelled)
      return place(labelled.error());
    auto row = make_row(signature, inputs, labels);
    if (!row) return place(row.error());
    rows.push_back(std::move(*row));
  }
  return rows;
}

Result<std::vector<Row>> read_rows(const std::string& path, const Signature& signature, const JsonObject& fields,
                                   const DataLimits& limits) {
  ASSAY_TRY(const std::string text, read_file(path, limits.file_bytes_max, limits.line_bytes_max));
  if (path.ends_with(".jsonl") || path.ends_with(".ndjson")) return parse_jsonl(text, path, signature, fields, limits);
  if (path.ends_with(".csv")) return parse_csv(text, path, signature, fields, limits);
  return fail(ErrorCode::usage, "the data file is neither .csv nor .jsonl", "name it by its form", path);
}

void order_rows(std::vector<Row>& rows) {
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.example_hash < b.example_hash; });
  std::map<std::string, int> seen;
  for (Row& row : rows) {
    const std::string base = "ex:" + row.example_hash.substr(0, 16);
    const int copy = seen[base]++;
    row.segment = copy == 0 ? base : fmt::format("{}.{}", base, copy);
  }
}

std::string DataSets::id(const std::vector<Row>& rows) {
  std::vector<std::string> out;
  for (const Row& row : rows) out.push_back(row.example_hash);
  return set_id(std::move(out));
}

std::int64_t DataSets::overlaps() const {
  return static_cast<std::int64_t>(inputs_of(find_overlaps(hashes(train), hashes(val), hashes(test))));
}

Result<DataSets> load_data(const DataSpec& spec, const std::string& folder, const Signature& signature) {
  DataSets sets;
  for (const auto& [field, column] : spec.fields) {
    if (signature.input(field) != nullptr || signature.output(field) != nullptr) continue;
    std::vector<std::string_view> known;
    for (const Field* each : all_fields(signature)) known.push_back(each->name);
    const std::string near = nearest(field, known);
    return fail(ErrorCode::malformed, fmt::format("the program has no field '{}'", field),
                near.empty() ? "fields on the left, columns of the file on the right" : fmt::format("did you mean '{}'?", near),
                "data.fields");
  }
  if (!spec.file.empty()) {
    ASSAY_TRY(const std::string path, data_path(folder, spec.file));
    ASSAY_TRY(std::vector<Row> rows, read_rows(path, signature, spec.fields));
    std::vector<Row>* const into[] = {&sets.train, &sets.val, &sets.test};
    for (Row& row : rows) {
      const std::size_t set = split_of(row.input_hash, spec.fractions, spec.salt);
      into[set]->push_back(std::move(row));
    }
  } else if (!spec.train.empty()) {
    const std::pair<const std::string*, std::vector<Row>*> files[] = {
        {&spec.train, &sets.train}, {&spec.val, &sets.val}, {&spec.test, &sets.test}};
    for (const auto& [file, rows] : files) {
      if (file->empty()) continue;
      ASSAY_TRY(const std::string path, data_path(folder, *file));
      ASSAY_TRY(*rows, read_rows(path, signature, spec.fields));
    }
  } else {
    return fail(ErrorCode::usage, "the program file has no data", "add [data] with file = \"rows.csv\"", "data");
  }
  for (auto* rows : {&sets.train, &sets.val, &sets.test}) order_rows(*rows);
  if (!spec.allow_overlap) ASSAY_CHECK(check_no_overlap(hashes(sets.train), hashes(sets.val), hashes(sets.test)));
  return sets;
}

}  // namespace assay
