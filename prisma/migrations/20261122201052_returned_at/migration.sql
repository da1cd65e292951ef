-- AlterTable
ALTER TABLE "paid_lines" ADD COLUMN     "returned_at" TIMESTAMPTZ(3);
