#pragma once
/// @file
/// Rows for compile and eval: CSV and JSONL files, typed by the program's signature, named by hash, split by hash.
/// Source: docs/formats.md §3 (Data).
///
///     ASSAY_TRY(const DataSets sets, load_data(spec, folder, signature));
///     sets.test.size();
///
/// Thread safety: values.

#include <string>
#include <vector>

#include "assay/program/example.h"
#include "assay/program/program_file.h"

namespace assay {

struct Row {
  Example example;  ///< labels: those outputs of the signature that the file has
  std::string input_hash, example_hash;
  std::string segment;  ///< "ex:<16 hex>[.dup]": its place in paths
};

struct DataLimits {
  std::size_t file_bytes_max = std::size_t{1} << 30;
  std::size_t rows_max = 2000000;
  std::size_t line_bytes_max = std::size_t{8} << 20;
};

/// Reads `.csv` (RFC 4180, first line names the columns) or `.jsonl`. Errors: `malformed` with "file:line".
Result<std::vector<Row>> read_rows(const std::string& path, const Signature& signature, const JsonObject& fields,
                                   const DataLimits& limits = {});
Result<std::vector<Row>> parse_csv(std::string_view text, const std::string& name, const Signature& signature, const JsonObject& fields,
                                   const DataLimits& limits = {});
Result<std::vector<Row>> parse_jsonl(std::string_view text, const std::string& name, const Signature& signature, const JsonObject& fields,
                                     const DataLimits& limits = {});
/// A row from values that are typed already (a journal's).
Result<Row> make_row(const Signature& signature, const Json& inputs, const Json& labels);

struct DataSets {
  std::vector<Row> train, val, test;
  std::string train_id() const { return id(train); }
  std::string val_id() const { return id(val); }
  std::string test_id() const { return id(test); }
  static std::string id(const std::vector<Row>& rows);
  std::int64_t overlaps() const;  ///< inputs that stand in more than one set
};

/// By split or by files. Rows of one set stand in the order of their hashes, so that the file's order has no meaning.
/// Errors: `refused` when sets overlap and the spec does not allow it, `malformed` when one that is needed is empty.
Result<DataSets> load_data(const DataSpec& spec, const std::string& folder, const Signature& signature);

/// Sorts by hash and numbers equal rows (".1", ".2").
void order_rows(std::vector<Row>& rows);

}  // namespace assay
