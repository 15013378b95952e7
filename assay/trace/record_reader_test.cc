#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdio>
#include <functional>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/base/test_files.h"
#include "assay/trace/record.h"
#include "assay/trace/record_line.h"
#include "assay/trace/worked_case.h"

namespace assay {
namespace {

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end + 1));
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

std::string first_problem(std::string_view text, const RecordChecks& checks = {}) {
  const RecordVerdict verdict = verify_record(text, checks);
  // Who reads sees what who only verifies sees.
  const auto record = read_record(text, checks);
  EXPECT_EQ(record.has_value(), verdict.problems.empty());
  if (!record && !verdict.problems.empty()) {
    EXPECT_TRUE(record.error().message.starts_with(verdict.problems[0].message)) << record.error().message;
  }
  return verdict.problems.empty() ? std::string(name(verdict.state)) : verdict.problems[0].message;
}

std::vector<RecordEntry> entries() { return read_record(worked::record_text()).value().entries; }

// Nine megabytes of lines.
std::string long_record() {
  ManualClock clock;
  FixedEntropy entropy(1);
  RunStart start;
  const TestFolder folder;
  const std::string path = folder.path("assay-long.run.jsonl");
  const auto recorder = RunRecorder::create({.path = path, .keep_entries = false}, std::move(start), clock, entropy).value();
  const std::string filler(4000, 'x');
  for (int i = 0; i < 2300; ++i) {
    const bool written =
        recorder->append("event", "", JsonObject{{"name", "e"}, {"data", JsonObject{{"i", i}, {"x", filler}}}}).has_value();
    EXPECT_TRUE(written);
  }
  EXPECT_TRUE(recorder->finish(std::nullopt));
  std::string text = read_file(path).value();
  return text;
}

// --- every way in which a record can be wrong ---

TEST(RecordReader, ReadsALongRecordInItsOrderAndFindsWhatIsWrongInIt) {
  const std::string good = long_record();
  ASSERT_GT(good.size(), std::size_t{9} << 20);
  const auto record = read_record(good);
  ASSERT_TRUE(record) << record.error().text();
  ASSERT_EQ(record->entries.size(), 2302U);
  for (std::size_t i = 0; i < record->entries.size(); ++i) ASSERT_EQ(record->entries[i].seq, static_cast<std::int64_t>(i));
  std::vector<std::string> lines = lines_of(good);
  for (const std::size_t i : {std::size_t{1}, std::size_t{1024}, std::size_t{2299}}) {
    std::vector<std::string> bad = lines;
    bad[i][bad[i].find("xxx")] = 'y';
    EXPECT_EQ(first_problem(joined(bad)), fmt::format("line {} was altered: line {} carries the hash of another text", i + 1, i + 2));
    bad = lines;
    std::swap(bad[i], bad[i + 1]);
    EXPECT_EQ(first_problem(joined(bad)), fmt::format("lines {} and {} are swapped", i + 1, i + 2));
  }
}

TEST(RecordReader, EverySingleBitThatFlipsIsFound) {
  const std::string good = worked::record_text();
  const std::size_t signature_key = good.rfind("\"signature\":");
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      const RecordVerdict verdict = verify_record(bad, {.complete = true, .head = {}});
      ASSERT_FALSE(verdict.is_signed) << "byte " << at << " bit " << bit;
      // A member that is no longer called "signature" is a signature taken off: only the demand for a complete record sees it.
      const bool taken_off = at > signature_key && at <= signature_key + 9 && verdict.state == RecordState::complete;
      ASSERT_TRUE(taken_off || verdict.state == RecordState::broken) << "byte " << at << " bit " << bit;
      ASSERT_FALSE(verdict.problems.empty());
    }
  }
}

TEST(RecordReader, NamesTheAlteredLine) {
  const std::vector<std::string> good = lines_of(worked::record_text());
  for (std::size_t i = 0; i + 1 < good.size(); ++i) {
    std::vector<std::string> bad = good;
    const std::size_t t = bad[i].rfind("\"t\":") + 4;
    bad[i][t] = bad[i][t] == '1' ? '2' : '1';
    if (i == 5) {  // the line after it is the last: nothing says which of the two was touched
      EXPECT_EQ(first_problem(joined(bad)), "line 6 or 7 was altered: line 7 carries the hash of another text");
    } else {
      EXPECT_EQ(first_problem(joined(bad)), fmt::format("line {} was altered: line {} carries the hash of another text", i + 1, i + 2));
    }
    EXPECT_EQ(verify_record(joined(bad)).problems.size(), 1U);
  }
}

TEST(RecordReader, NamesALineWhosePrevWasAltered) {
  std::vector<std::string> bad = lines_of(worked::record_text());
  const std::size_t prev = bad[3].find("\"prev\":\"") + 8;
  bad[3][prev] = bad[3][prev] == 'a' ? 'b' : 'a';
  EXPECT_EQ(first_problem(joined(bad)), "line 4 was altered: its prev is not the hash of line 3, and line 5 carries another hash of it");
}

TEST(RecordReader, NamesALineWhoseSeqWasAltered) {
  std::vector<std::string> bad = lines_of(worked::record_text());
  bad[3].replace(bad[3].find("\"seq\":3"), 7, "\"seq\":9");
  EXPECT_EQ(first_problem(joined(bad)), "line 4 was altered: its seq is 9, not 3");
}

TEST(RecordReader, NamesALineThatIsNotCanonical) {
  std::vector<std::string> bad = lines_of(worked::record_text());
  bad[2].insert(1, " ");
  EXPECT_EQ(first_problem(joined(bad)), "line 3 was altered: it is not canonical JSON from byte 2 on");
}

TEST(RecordReader, NamesTheMissingLine) {
  const std::vector<std::string> good = lines_of(worked::record_text());
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::vector<std::string> bad = good;
    bad.erase(bad.begin() + static_cast<std::ptrdiff_t>(i));
    const std::string want = i == 0   ? "a line is missing before line 1"
                             : i == 6 ? "open"
                                      : fmt::format("a line is missing between lines {} and {}", i, i + 1);
    EXPECT_EQ(first_problem(joined(bad)), want);
    EXPECT_LE(verify_record(joined(bad)).problems.size(), 1U);
  }
}

TEST(RecordReader, CountsMissingLines) {
  std::vector<std::string> bad = lines_of(worked::record_text());
  bad.erase(bad.begin() + 2, bad.begin() + 5);
  EXPECT_EQ(first_problem(joined(bad)), "3 lines are missing between lines 2 and 3");
}

TEST(RecordReader, NamesTheRepeatedLine) {
  const std::vector<std::string> good = lines_of(worked::record_text());
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::vector<std::string> bad = good;
    bad.insert(bad.begin() + static_cast<std::ptrdiff_t>(i), good[i]);
    EXPECT_EQ(first_problem(joined(bad)), fmt::format("line {} repeats line {}", i + 2, i + 1));
    EXPECT_EQ(verify_record(joined(bad)).problems.size(), 1U);
  }
}

TEST(RecordReader, NamesTheSwappedLines) {
  const std::vector<std::string> good = lines_of(worked::record_text());
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (std::size_t j = i + 1; j < good.size(); ++j) {
      std::vector<std::string> bad = good;
      std::swap(bad[i], bad[j]);
      EXPECT_EQ(first_problem(joined(bad)), fmt::format("lines {} and {} are swapped", i + 1, j + 1));
      EXPECT_EQ(verify_record(joined(bad)).problems.size(), 1U);
    }
  }
}

TEST(RecordReader, ALineFromAnotherRecordDoesNotFit) {
  std::vector<std::string> bad = lines_of(worked::record_text());
  std::vector<RecordEntry> other = entries();
  other[1].data.set("inputs", JsonObject{{"description", "go board"}});
  bad[4] = lines_of(worked::reseal(other))[4];
  EXPECT_EQ(verify_record(joined(bad)).state, RecordState::broken);
}

// --- a chain that was sealed again ---

TEST(RecordReader, ASealedAgainRecordFailsByItsHead) {
  std::vector<RecordEntry> forged = entries();
  forged[3].data.set("content", "Section: games");
  EXPECT_EQ(first_problem(worked::reseal(forged)), "the head in line 6 does not name the line before it");
}

TEST(RecordReader, ASealedAgainRecordWithoutHeadsFailsByItsSignature) {
  std::vector<RecordEntry> forged = entries();
  forged[3].data.set("content", "Section: games");
  forged.erase(forged.begin() + 5);
  EXPECT_TRUE(first_problem(worked::reseal(forged)).starts_with("line 6 (run_end) was altered or its signature is bad"));
}

TEST(RecordReader, ASignatureThatWasTakenOffShowsOnlyWhenCompletenessIsAsked) {
  std::vector<RecordEntry> forged = entries();
  forged.erase(forged.begin() + 5);
  forged.back().data.set("signature", nullptr);
  EXPECT_EQ(first_problem(worked::reseal(forged)), "complete");
  EXPECT_EQ(first_problem(worked::reseal(forged), {.complete = true, .head = {}}), "the record is complete but not signed");
  forged.back().data.as_object().erase("signature");
  EXPECT_EQ(first_problem(worked::reseal(forged)), "complete");
}

TEST(RecordReader, TotalsThatAreNotTheSumsAreNamed) {
  std::vector<RecordEntry> forged = entries();
  forged.erase(forged.begin() + 5);  // the head would tell already
  forged.back().data.set("signature", nullptr);
  Json totals = forged.back().data.at("totals");
  const std::int64_t tokens = totals.at("prompt_tokens").as_int();
  totals.set("prompt_tokens", tokens + 1);
  forged.back().data.set("totals", totals);
  const std::string bad = worked::reseal(forged);
  EXPECT_EQ(first_problem(bad), fmt::format("totals in line 6 say {} prompt_tokens, but the lines above sum to {}", tokens + 1, tokens));
  EXPECT_EQ(verify_record(bad).state, RecordState::broken);
}

TEST(RecordReader, ALostTailShowsByAKeptHead) {
  const std::vector<std::string> good = lines_of(worked::record_text());
  const Json head = entries()[5].data;
  const RecordChecks kept{.complete = false, .head = head};
  EXPECT_EQ(first_problem(joined(good), kept), "complete");
  const std::string cut = joined({good.begin(), good.begin() + 3});
  EXPECT_EQ(first_problem(cut), "open");
  EXPECT_EQ(first_problem(cut, kept), "the tail was lost: the kept head vouches for line 5, the record ends with line 3");
  std::vector<RecordEntry> forged = entries();
  forged[3].data.set("content", "Section: games");
  forged.resize(5);
  EXPECT_EQ(first_problem(worked::reseal(forged), kept), "line 5 or one before it was altered: the kept head has another hash of line 5");
  EXPECT_EQ(verify_record(worked::reseal(forged), kept).state, RecordState::broken);
  Json bad_head = head;
  bad_head.set("seq", 3);
  EXPECT_EQ(first_problem(joined(good), {.complete = false, .head = bad_head}), "the kept head is not a head, or is badly signed");
}

TEST(RecordReader, OnlyAResumeFollowsTheEnd) {
  std::vector<RecordEntry> forged = entries();
  RecordEntry more = forged[4];
  forged.erase(forged.begin() + 5);
  forged.back().data.set("signature", nullptr);
  forged.push_back(more);
  EXPECT_EQ(first_problem(worked::reseal(forged)), "line 7 ('node_end') follows run_end: only resume may");
}

TEST(RecordReader, TheEndCannotBeDisguised) {
  std::vector<RecordEntry> forged = entries();
  forged.back().type = "run_enp";
  EXPECT_EQ(first_problem(worked::reseal(forged)), "line 7 was altered: it has run_end's members, but its type is 'run_enp'");
}

TEST(RecordReader, BeginsWithRunStartOnce) {
  std::vector<RecordEntry> forged = entries();
  forged.erase(forged.begin());
  forged.resize(4);
  EXPECT_EQ(first_problem(worked::reseal(forged)), "the first line is 'node_start', not run_start");
  forged = entries();
  forged.resize(2);
  forged.push_back(forged[0]);
  EXPECT_EQ(first_problem(worked::reseal(forged)), "line 3 is a second run_start");
  EXPECT_EQ(first_problem(""), "the record is empty: not even run_start is there");
  EXPECT_EQ(verify_record("\n").state, RecordState::broken);
}

TEST(RecordReader, MissesEveryMemberThatItNeeds) {
  const std::vector<RecordEntry> good = entries();
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const auto& [key, unused] : good[i].data.as_object()) {
      if (key == "signature" && i == 6) continue;  // absent is allowed: unsigned
      std::vector<RecordEntry> forged = entries();
      forged[i].data.as_object().erase(key);
      if (key == "root_hash") continue;  // reseal puts it back
      EXPECT_NE(first_problem(worked::reseal(forged)).find(fmt::format("member '{}'", key)), std::string::npos) << i << key;
    }
  }
}

TEST(RecordReader, InsistsOnTheMembersThatTheSchemaRequires) {
  const Json schema = read_json(read_file(ASSAY_SOURCE_DIR "/schemas/run.schema.json").value()).value();
  int checked = 0;
  for (const RecordEntry& entry : entries()) {
    const Json& required = schema.at("$defs").at(entry.type).at("required");
    std::vector<std::string> want, found;
    for (const Json& name : required.as_list()) want.push_back(name.as_string());
    for (const auto& [key, unused] : entry.data.as_object()) {
      Json without = entry.data;
      without.as_object().erase(key);
      if (!check_record_data(entry.type, without)) found.push_back(key);
    }
    std::sort(want.begin(), want.end());
    EXPECT_EQ(found, want) << entry.type;
    checked += static_cast<int>(want.size());
  }
  EXPECT_GT(checked, 30);
}

TEST(RecordReader, SkipsUnknownTypesAndKeepsUnknownMembers) {
  std::vector<RecordEntry> more = entries();
  more.erase(more.begin() + 5, more.end());
  more[1].data.set("hint", "kept");
  more.push_back({0, 9, "of_tomorrow", "", "", JsonObject{}});
  const auto record = read_record(worked::reseal(more)).value();
  EXPECT_EQ(record.verdict.state, RecordState::open);
  EXPECT_EQ(record.entries[1].data.at("hint"), Json("kept"));
}

TEST(RecordReader, RefusesLongLinesLongPathsAndDeepData) {
  const std::string good = worked::record_text();
  EXPECT_NE(first_problem(good, {.complete = false, .head = {}, .line_bytes_max = 300}).find("at most 300 are read"), std::string::npos);
  std::vector<RecordEntry> forged = entries();
  forged.resize(2);
  forged[1].node = std::string(record_path_bytes_max, 'a');
  EXPECT_EQ(first_problem(worked::reseal(forged)), "open");
  forged[1].node += 'a';
  EXPECT_NE(first_problem(worked::reseal(forged)).find("its path has more than"), std::string::npos);
  EXPECT_EQ(verify_record(std::string(1000000, '[')).state, RecordState::broken);
  EXPECT_EQ(verify_record("{\"data\":" + std::string(1000000, '[')).state, RecordState::broken);
}

// --- cut anywhere ---

TEST(RecordReader, CutAtEveryByteIsOpenTornOrCompleteAndNothingElse) {
  const std::string good = worked::record_text();
  for (std::size_t size = 1; size < good.size(); ++size) {
    const std::string cut = good.substr(0, size);
    const RecordVerdict verdict = verify_record(cut);
    const RecordState want = cut.back() == '\n' ? RecordState::open : RecordState::torn;
    ASSERT_EQ(verdict.state, want) << "at byte " << size << ": " << (verdict.problems.empty() ? "" : verdict.problems[0].message);
    ASSERT_TRUE(verdict.problems.empty());
    ASSERT_EQ(verify_record(cut, {.complete = true, .head = {}}).problems.size(), 1U);
  }
}

TEST(RecordReader, ALastLineThatLacksOnlyItsNewlineMustHoldAsALine) {
  const std::string good = worked::record_text();
  const std::string whole = good.substr(0, good.size() - 1);
  EXPECT_EQ(verify_record(whole).state, RecordState::torn);
  EXPECT_TRUE(verify_record(whole).root_hash.empty()) << "nothing ended yet";
  for (const std::string_view member : {"\"calls\":", "\"root_hash\":\"", "\"signature\":\""}) {
    std::string wrong = whole;
    char& byte = wrong[wrong.rfind(member) + member.size()];
    byte = byte == '7' ? '8' : '7';
    EXPECT_EQ(verify_record(wrong).state, RecordState::broken) << member;
  }
}

TEST(RecordReader, ATailThatCannotBecomeTheNextLineIsBroken) {
  const std::string good = worked::record_text();
  const std::string first = good.substr(0, good.find('\n') + 1);
  const std::string prev = read_record(good).value().entries[1].prev;
  const std::string to_prev = first + R"({"data":{},"node":"a","prev":")" + prev;
  for (const std::string& tail :
       {to_prev, to_prev + R"(","seq":1)", to_prev + R"(","seq":1,"t":10,"type":"x)", to_prev + R"(","seq":1,"t":1,"type":"x")",
        first + "{", first + R"({"data":{"a":[1.5,"\u001)", first + R"({"data":{"a":1e+)", first + R"({"data":{"a":0.00000)",
        first + "{\"data\":{\"a\":\"\xE2\x82", first + R"({"data":{"a":-)", first + R"({"data":{"a":"\)", first + R"({"dat":)",
        first + R"({"another":[1],"data":{},"mode":{"b":1,"b)", to_prev + R"(","seq":1,"t":1,"type":"x","zzz":{")"}) {
    EXPECT_EQ(first_problem(tail), "torn") << tail.substr(first.size());
  }
  for (const std::string& tail : {to_prev + "x",
                                  to_prev + R"(","seq":2)",
                                  to_prev + R"(","seq":12)",
                                  to_prev + R"(","seq":1,"t":1.5)",
                                  to_prev + R"(","seq":1,"t":-)",
                                  first + " ",
                                  first + "[",
                                  first + R"({"date":)",
                                  first + R"({"data":{},"nodf)",
                                  first + R"({"data":{},"node":"a//)",
                                  first + R"({"data":{"b":1,"a")",
                                  first + R"({"data":{"b":1,"a)",
                                  first + R"({"data":{"b":1,"\u00)",
                                  first + R"({"data":{"a":"\/)",
                                  first + R"({"data":{"a":1.50,)",
                                  first + R"({"data":{"a":01)",
                                  first + R"({"data":{"a":1e5)",
                                  first + R"({"data":{"a":1E)",
                                  first + "{\"data\":{\"a\":\"\xC0",
                                  first + "{\"data\":{\"a\":\"\xED\xA0",
                                  first + R"({"data":{"a":"\u0041)",
                                  first + R"({"data":{"a":"\u000a)",
                                  first + R"({"data":{"a":nx)",
                                  first + R"({"data":[)",
                                  first + "{\"data\":{\"a\":\"\n"}) {
    EXPECT_EQ(verify_record(tail).state, RecordState::broken) << tail.substr(first.size());
  }
}

TEST(RecordReader, AFirstLineThatIsCutIsTornOnlyIfItCanBecomeRunStart) {
  const std::string zeros(first_prev());
  const std::string whole = record_line_text(entries().front()).value();
  EXPECT_EQ(first_problem(whole.substr(0, whole.size() - 6)), "torn");
  EXPECT_EQ(verify_record(R"({"data":{},"node":"","prev":")" + zeros + R"(","seq":0,"t":0,"type":"run_s)").state, RecordState::broken)
      << "no data of a start";
  EXPECT_EQ(verify_record(R"({"data":{},"node":"","prev":")" + zeros + R"(","seq":0,"t":0,"type":"node)").state, RecordState::broken);
}

// Whatever values a line holds, each of its prefixes may become it; put a byte that JSON does not know behind it, and it may not.
RC_GTEST_PROP(RecordTailProperty, EveryPrefixOfALineMayBecomeIt,
              (const std::map<std::string, double>& numbers, const std::vector<std::string>& texts)) {
  JsonObject data;
  for (const auto& [key, number] : numbers) {
    if (data.size() < 4 && valid_utf8(key) && canonical(number)) data.set(key, number);
  }
  JsonList list;
  for (const std::string& text : texts) {
    if (list.size() < 4) list.push_back(to_utf8(text));
  }
  data.set("list", std::move(list));
  const std::string line = record_line_text({3, 5, "later", "a", std::string(64, 'b'), data}).value();
  for (std::size_t size = 1; size <= line.size(); ++size) {
    RC_ASSERT(may_become_line(line.substr(0, size), 3, std::string(64, 'b'), "", record_line_bytes_max));
  }
  RC_ASSERT(!may_become_line(line + '}', 3, std::string(64, 'b'), "", record_line_bytes_max));
  RC_ASSERT(!may_become_line(line, 4, std::string(64, 'b'), "", record_line_bytes_max));
}

// A request lies deep in its line, where a reader that only verifies keeps little.
TEST(RecordReader, HoldsARequestToItsMembers) {
  const std::vector<RecordEntry> good = entries();
  const auto with = [&](const std::function<void(Json&)>& change) {
    std::vector<RecordEntry> bad = good;
    for (RecordEntry& entry : bad) {
      if (entry.type == "lm_request") change(*entry.data.as_object().find("request"));
    }
    return first_problem(worked::reseal(bad));
  };
  for (const char* member : {"messages", "config", "seed", "schema", "tools", "model", "rollout"})
    EXPECT_NE(with([&](Json& request) { request.as_object().erase(member); }).find(member), std::string::npos) << member;
  const auto message = [](Json& request) -> Json& { return request.as_object().find("messages")->as_list().at(2); };
  EXPECT_NE(with([&](Json& request) { message(request).as_object().erase("role"); }).find("role"), std::string::npos);
  EXPECT_NE(with([&](Json& request) { message(request).set("role", 5); }).find("role"), std::string::npos);
  EXPECT_NE(with([&](Json& request) { message(request) = "hello"; }).find("message"), std::string::npos);
  EXPECT_NE(with([&](Json& request) { request.as_object().find("model")->set("digest", "aa"); }).find("digest"), std::string::npos);
  EXPECT_NE(with([&](Json& request) { request.set("seed", "x"); }).find("seed"), std::string::npos);
  EXPECT_NE(with([&](Json& request) { request.set("rollout", Json()); }).find("rollout"), std::string::npos);
}

// schemas/run.schema.json, type by type: what is missing or of another kind is no line of a record.
TEST(RecordReader, HoldsEachTypeToItsMembers) {
  const std::string id(64, 'a');
  const std::pair<const char*, JsonObject> good[] = {
      {"attempt", {{"index", 0}, {"score", 0.5}, {"lane", "x"}}},
      {"repair", {{"kind", "case"}, {"detail", "x"}}},
      {"tool", {{"name", "t"}, {"arguments", JsonObject{}}, {"result", "r"}}},
      {"sandbox", {{"request_hash", id}, {"response_hash", Json()}}},
      {"payment", {{"payment_hash", id}, {"amount_msats", 5}, {"state", "settled"}}},
      {"budget", {{"limit", 1}, {"spent", 1}}},
      {"candidate", {{"id", "cand:1"}, {"compiled_id", id}, {"metrics", JsonObject{{"m", 0.5}}}}},
      {"score", {{"example", id}, {"metric", "m"}, {"value", Json()}}},
      {"decision", {{"what", "w"}, {"value", 1}}},
      {"value", {{"what", "w"}, {"value", 1}}},
      {"override", {{"what", "w"}, {"value", 1}}},
      {"event", {{"name", "e"}, {"data", Json()}}},
      {"error", {{"code", "io"}, {"message", "m"}, {"path", ""}}},
      {"blob", {{"hash", id}, {"text", "t"}}},
      {"resume", {{"reason", "r"}, {"cut_bytes", 0}, {"cut_sha256", Json()}}},
  };
  for (const auto& [type, data] : good) {
    EXPECT_TRUE(check_record_data(type, data)) << type;
    for (const auto& [name, value] : data) {
      JsonObject less = data, other = data;
      less.erase(name);
      other.set(name, JsonList{1});
      const bool optional = name == "lane" || name == "state";
      EXPECT_EQ(check_record_data(type, less).has_value(), optional) << type << " without " << name;
      const bool anything = name == "arguments" || name == "result" || name == "data" || name == "limit" || name == "spent" ||
                            (name == "value" && std::string_view(type) != "score");
      EXPECT_EQ(check_record_data(type, other).has_value(), anything) << type << " with another " << name;
    }
  }
  EXPECT_FALSE(check_record_data("payment", JsonObject{{"payment_hash", id}, {"amount_msats", 5}, {"state", "x"}}));
  EXPECT_FALSE(check_record_data("resume", JsonObject{{"reason", "r"}, {"cut_bytes", -5}, {"cut_sha256", Json()}}));
  EXPECT_FALSE(check_record_data("candidate", JsonObject{{"id", "c"}, {"compiled_id", id}, {"metrics", JsonObject{{"m", "x"}}}}));
  const JsonObject error{{"code", "io"}, {"path", ""}};
  EXPECT_FALSE(check_record_data("node_end", JsonObject{{"outputs", Json()}, {"status", "error"}, {"error", error}}));
}

TEST(RecordReader, ReadsAsAnErrorThatNamesTheLine) {
  std::vector<std::string> bad = lines_of(worked::record_text());
  std::swap(bad[3], bad[4]);
  const auto record = read_record(joined(bad));
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().code, ErrorCode::mismatch);
  EXPECT_EQ(record.error().path, "line 4");
  EXPECT_EQ(record.error().message, "lines 4 and 5 are swapped");
  EXPECT_EQ(read_record_file("no/such/file").error().code, ErrorCode::io);
}

}  // namespace
}  // namespace assay
