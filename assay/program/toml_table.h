#pragma once
// Private to the program file's reader: TOML tables whose unknown keys, wrong types and places are reported.
#define TOML_EXCEPTIONS 0
// Its assertions would end the process on some malformed files; without them the parser reports an error.
#define TOML_ASSERT(expr) static_cast<void>(0)
#include <toml++/toml.h>

#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"

namespace assay {

/// One table and the file's name. All getters leave `out` alone when the key is absent.
class TomlTable {
 public:
  TomlTable(const toml::table& table, std::string file, std::string place)
      : table_(&table), file_(std::move(file)), place_(std::move(place)) {}

  Result<void> only(const std::vector<std::string_view>& known) const;
  bool has(std::string_view key) const { return table_->contains(key); }
  Result<void> text(std::string_view key, std::string& out) const;
  Result<void> integer(std::string_view key, std::int64_t& out) const;
  Result<void> number(std::string_view key, double& out) const;
  Result<void> boolean(std::string_view key, bool& out) const;
  Result<void> texts(std::string_view key, std::vector<std::string>& out) const;
  Result<TomlTable> table(std::string_view key) const;       ///< must be there
  Result<std::vector<TomlTable>> tables(std::string_view key) const;  ///< array of tables; empty when absent
  Result<Json> json(std::string_view key) const;             ///< any value, as JSON
  Result<Json> as_json() const;
  std::vector<std::string> keys() const;                     ///< in file order
  std::string where(std::string_view key) const;  ///< "FILE:LINE:COLUMN" of a key, or of the table when it has none such
  std::unexpected<Error> error(std::string_view key, std::string message, std::string remedy = {}) const;

 private:
  const toml::table* table_;
  std::string file_, place_;
};

}  // namespace assay
