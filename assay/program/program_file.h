#pragma once
/// @file
/// PROGRAM.toml: a program with its data, metric, optimizer, budget and lane, for people who never open C++.
/// Source: docs/formats.md §8; docs/reference/program-file.md.
///
///     ASSAY_TRY(const ProgramFile file, read_program_file("PROGRAM.toml", rewards));
///     file.program.id();
///
/// Errors: `malformed` with "PROGRAM.toml:LINE:COLUMN"; an unknown key names the nearest known one.
/// Thread safety: values.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "assay/contract/dataset.h"
#include "assay/contract/manifest.h"
#include "assay/program/program.h"
#include "assay/trace/budget.h"

namespace assay {

struct DataSpec {
  std::string file;                 ///< CSV or JSONL with all rows, split by hash; or …
  std::string train, val, test;     ///< … one file each
  JsonObject fields;                ///< field of the signature → column of the file, where the names differ
  bool allow_overlap = false;       ///< an input may stand in two sets; the scorecard then says how many do
  SplitFractions fractions{0.5, 0.2, 0.3};
  std::string salt;
};

struct OptimizerSpec {
  std::string name = "BootstrapFewShotWithRandomSearch";
  JsonObject config;  ///< hyper-parameters as written; each optimizer fills in its defaults
  std::map<std::string, std::string> places;  ///< of its keys in the file, "FILE:LINE:COLUMN", for errors
};

struct LaneSpec {
  std::string kind = "local";
  std::string model;     ///< empty: the default model
  std::string endpoint;  ///< relay of a pylon lane, base URL of an openai lane
  std::string dialect;   ///< of an openai lane: "openai" (default) or "llama.cpp"
  std::string key_env;   ///< of an openai lane: name of the environment variable that holds its key
  std::int64_t context = 0;  ///< tokens that its model can read; 0: not known
  std::vector<PrivacyMode> privacy;  ///< modes that an openai lane may see; empty: public_ok and no_pii
  std::int64_t threads = 0;  ///< calls at once; 0: as the lane thinks
};

struct ProgramFile {
  std::string path;    ///< of the file
  std::string folder;  ///< paths in the file are relative to it
  Program program;
  DataSpec data;
  std::string metric = "accuracy", metric_place;  ///< where the file names it, for errors
  OptimizerSpec optimizer;
  BudgetLimits budget;
  LaneSpec lane;
  std::optional<LaneSpec> proposer;  ///< lane that writes instructions for optimizers that ask one
  Compatibility compatibility;
};

Result<ProgramFile> read_program_file(const std::string& path, const Rewards& rewards);
/// `name` stands in errors for the file; `folder` is what its paths are relative to.
Result<ProgramFile> parse_program_file(std::string_view text, const std::string& name, const std::string& folder, const Rewards& rewards);

}  // namespace assay
